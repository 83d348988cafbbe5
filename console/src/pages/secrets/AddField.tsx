import { Button, Form, Input, Space } from 'antd';
import { useId, useState } from 'react';
import { useTranslation } from 'react-i18next';

/** Adds a field by its name: a realm may read one that nothing lists. */
export function AddField({ onAdd }: { onAdd: (name: string) => void }) {
  const { t } = useTranslation('secrets');
  const id = useId();
  const [name, setName] = useState('');
  const add = () => {
    if (name.trim() !== '') onAdd(name.trim());
    setName('');
  };
  return (
    <Form.Item label={t('form.add_field')} htmlFor={id}>
      <Space.Compact block>
        <Input
          id={id}
          value={name}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => setName(event.target.value)}
          onPressEnter={(event) => {
            event.preventDefault(); // the form is not sent
            add();
          }}
        />
        <Button onClick={add}>{t('form.add')}</Button>
      </Space.Compact>
    </Form.Item>
  );
}
