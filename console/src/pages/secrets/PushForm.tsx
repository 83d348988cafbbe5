import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Form, InputNumber, Select, Space } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { SecretInput } from '../../components/SecretInput';
import { push, type PushBody } from './api';

const UNITS = { minutes: 60, hours: 3600, days: 86400 };
type Unit = keyof typeof UNITS;

/** Brings a value of a volatile field, such as a ticket that the provider sent. */
export function PushForm({ realm, secret, volatile }: { realm: string; secret: string; volatile: string[] }) {
  const { t } = useTranslation('secrets');
  const [field, setField] = useState(volatile[0] ?? '');
  const [value, setValue] = useState('');
  const [count, setCount] = useState<number | null>(null);
  const [unit, setUnit] = useState<Unit>('minutes');
  const run = useMutation({
    mutationFn: () => {
      const body: PushBody = { field, value: value.trim() };
      if (count !== null) body.expires_in = count * UNITS[unit];
      return push(realm, secret, body);
    },
    onSuccess: () => setValue(''),
  });
  return (
    <Form layout="vertical" className="secret-form" onFinish={() => run.mutate()} autoComplete="off">
      <p className="lead">{t('push.what')}</p>
      <Form.Item label={t('push.field')} htmlFor="push-field">
        <Select id="push-field" value={field} onChange={setField} options={volatile.map((name) => ({ value: name }))} />
      </Form.Item>
      <Form.Item label={t('push.value')} htmlFor="push-value" required>
        <SecretInput id="push-value" aria-required value={value} onChange={(event) => setValue(event.target.value)} />
      </Form.Item>
      <Form.Item label={t('push.expires_in')} htmlFor="push-expires" extra={t('push.expires_help')}>
        <Space.Compact>
          <InputNumber id="push-expires" min={1} precision={0} value={count} onChange={setCount} />
          <Select
            aria-label={t('push.unit')}
            value={unit}
            onChange={setUnit}
            options={Object.keys(UNITS).map((name) => ({ value: name as Unit, label: t(`push.${name}`) }))}
          />
        </Space.Compact>
      </Form.Item>
      <ApiErrorAlert error={run.error} />
      {run.isSuccess && value === '' && (
        <Alert className="api-error" type="success" showIcon role="status" title={t('push.done')} />
      )}
      <Button type="primary" htmlType="submit" loading={run.isPending} disabled={value.trim() === ''}>
        {t('push.verb')}
      </Button>
    </Form>
  );
}
