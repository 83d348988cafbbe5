import { useMutation } from '@tanstack/react-query';
import { Button, Card, Form, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/error';
import { signIn } from '../api/session';
import { ApiErrorAlert } from '../components/ApiErrorAlert';
import { SecretInput } from '../components/SecretInput';
import { Settings } from './Settings';

// SignIn asks for the admin token or a client's key. linkError is why a
// one-time link was not accepted.
export function SignIn({ linkError }: { linkError: Error | null }) {
  const { t } = useTranslation('session');
  const [form] = Form.useForm<{ key: string }>();
  const enter = useMutation({
    // Whoever types in a key means it, also if another tab has signed in meanwhile.
    mutationFn: ({ key }: { key: string }) => signIn({ key: key.trim(), replace: true }),
    // What was typed in does not stay on the page.
    onSettled: () => form.resetFields(),
  });
  const error = enter.error ?? (enter.isIdle ? linkError : null);
  const refused = error instanceof ApiError && error.status === 403;
  const reason = enter.error ? t('refused_key') : t('refused_link');
  return (
    <main className="alone">
      <div className="corner">
        <Settings />
      </div>
      <Card className="sign-in">
        <Typography.Title level={1}>{t('title')}</Typography.Title>
        <Typography.Paragraph>{t('what')}</Typography.Paragraph>
        {error && <ApiErrorAlert error={error} {...(refused ? { title: reason } : {})} />}
        <Form form={form} layout="vertical" requiredMark={false} onFinish={(values) => enter.mutate(values)}>
          <Form.Item name="key" label={t('key')} rules={[{ required: true, whitespace: true, message: t('key_missing') }]}>
            <SecretInput autoFocus />
          </Form.Item>
          <Button type="primary" htmlType="submit" block loading={enter.isPending}>
            {t('sign_in')}
          </Button>
        </Form>
        <Typography.Paragraph type="secondary" className="below">
          {t('where')} <code>caddy tokens console</code>
        </Typography.Paragraph>
      </Card>
    </main>
  );
}
