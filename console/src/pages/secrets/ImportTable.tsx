import { InboxOutlined } from '@ant-design/icons';
import { Alert, Button, Form, Input, Upload } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { readSecrets, type Reading } from './bulk';
import { decodeFile, parseTable } from './csv';
import type { RealmFields } from './fields';

const MAX_BYTES = 16 * 1024 * 1024;

/** The first step: a table is dropped, chosen or pasted. */
export function ImportTable({ of, onRead }: { of: RealmFields; onRead: (reading: Reading) => void }) {
  const { t } = useTranslation('secrets');
  const [text, setText] = useState('');
  const [error, setError] = useState('');
  const read = (table: string) => onRead(readSecrets(parseTable(table), of.fields, of.given));
  const readFile = async (file: File) => {
    if (file.size > MAX_BYTES) setError(t('import.too_large'));
    else read(decodeFile(new Uint8Array(await file.arrayBuffer())));
  };
  const names = of.fields.filter((f) => f.required && !f.pushed && f.default === undefined).map((f) => f.name);
  return (
    <div className="import panel">
      <p>{t('import.what')}</p>
      <pre tabIndex={0}>{['key', ...(names.length > 0 ? names : ['field'])].join(',')}</pre>
      {error && <Alert className="api-error" type="error" showIcon title={error} />}
      <Upload.Dragger
        accept=".csv,.tsv,.txt,text/csv,text/plain"
        showUploadList={false}
        beforeUpload={(file) => {
          void readFile(file).catch(() => setError(t('import.unreadable')));
          return Upload.LIST_IGNORE;
        }}
      >
        <p className="ant-upload-drag-icon">
          <InboxOutlined aria-hidden />
        </p>
        <p className="ant-upload-text">{t('import.drop')}</p>
      </Upload.Dragger>
      <Form layout="vertical" onFinish={() => read(text)}>
        <Form.Item label={t('import.paste')} htmlFor="import-text" extra={t('import.paste_help')}>
          <Input.TextArea
            id="import-text"
            className="masked"
            rows={6}
            value={text}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => setText(event.target.value)}
          />
        </Form.Item>
        <Button type="primary" htmlType="submit" disabled={text.trim() === ''}>
          {t('import.read')}
        </Button>
      </Form>
    </div>
  );
}

