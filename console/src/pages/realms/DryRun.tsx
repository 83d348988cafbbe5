import { PlayCircleOutlined } from '@ant-design/icons';
import { useMutation } from '@tanstack/react-query';
import { Button, Checkbox, Form, Input, Select } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { forgetSecret } from '../secrets/api';
import { type TestBody, testRealm, usePreset } from './api';
import { ReportView } from './Report';
import { SecretPicker } from './SecretPicker';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

interface Props {
  realm: string;
  /** Whose credentials are used; absent where they are to be chosen. */
  secret?: string;
  preset?: unknown;
  example?: { method: string; path: string } | undefined;
  /** Whether the token is a fixed one: only a call shows whether it is good. */
  isFixed: boolean;
  /** Whether a call of the API may be added: it takes the right use. */
  mayCall: boolean;
}

/** The dry run: asks the provider for a token, saves nothing, and tells step by step what happened. */
export function DryRun({ realm, secret, preset, example, isFixed, mayCall }: Props) {
  const { t } = useTranslation('realms');
  const catalogue = usePreset(preset);
  const hint = example ?? catalogue.data?.example;
  const [chosen, setChosen] = useState(secret ?? '');
  const [wantsCall, setWantsCall] = useState(false);
  const withCall = mayCall && (wantsCall || isFixed);
  const [method, setMethod] = useState<string | null>(null);
  const [path, setPath] = useState<string | null>(null);
  const key = secret ?? chosen;
  const call = { method: method ?? hint?.method ?? 'GET', path: path ?? hint?.path ?? '/' };
  const run = useMutation({
    mutationFn: (body: TestBody) => testRealm(realm, body),
    onSettled: () => forgetSecret(realm, key),
  });
  return (
    <>
      <Form layout="vertical" className="dry-run" onFinish={() => run.mutate(withCall ? { key, call } : { key })}>
        <p className="lead">{t(isFixed ? 'test.what_fixed' : 'test.what')}</p>
        {secret === undefined && (
          <Form.Item label={t('test.key')} htmlFor="test-key" required>
            <SecretPicker id="test-key" realm={realm} value={chosen} onChange={setChosen} />
          </Form.Item>
        )}
        {mayCall && !isFixed && (
          <Checkbox checked={wantsCall} onChange={(event) => setWantsCall(event.target.checked)}>
            {t('test.with_call')}
          </Checkbox>
        )}
        {withCall && (
          <div className="call">
            <Select
              aria-label={t('test.method')}
              value={call.method}
              onChange={setMethod}
              options={METHODS.map((value) => ({ value }))}
            />
            <Input
              aria-label={t('test.path')}
              value={call.path}
              spellCheck={false}
              onChange={(event) => setPath(event.target.value)}
            />
          </div>
        )}
        {withCall && !['GET', 'HEAD'].includes(call.method) && <p role="alert">{t('test.changes')}</p>}
        <p>
          <Button
            type="primary"
            htmlType="submit"
            icon={<PlayCircleOutlined aria-hidden />}
            loading={run.isPending}
            disabled={key === '' || (isFixed && !mayCall)}
          >
            {t(isFixed ? 'test.run_fixed' : 'test.run')}
          </Button>
        </p>
      </Form>
      <ApiErrorAlert error={run.error} />
      {run.data && !run.isPending && <ReportView report={run.data} preset={catalogue.data} />}
    </>
  );
}
