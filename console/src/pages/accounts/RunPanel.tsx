import { Alert, Button, Card, Flex, Progress, Segmented, Table, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { Said } from '../../components/Said';
import { percent, type Outcome, type Result, type Run } from './run';
import { reasonOf, type Translate } from './reasons';
import { useRun, useRuns } from './runs';

const colors = { ok: 'green', skipped: 'default', failed: 'red' } as const;

// RunPanel gets or renews the tokens of all accounts of a realm, shows how far
// that is, line by line, and keeps the report.
export function RunPanel({ realm, accounts, onDone }: { realm: string; accounts: number; onDone: () => void }) {
  const { t } = useTranslation('accounts');
  const run = useRun(realm);
  const { start, stop, forget } = useRuns();
  const isRunning = run?.state === 'running';
  const begin = (kind: 'init' | 'refresh') => void start(realm, kind, accounts).then(onDone);
  return (
    <Card size="small" title={t('all.title')}>
      <Flex vertical gap="middle">
        <Flex gap="small" wrap>
          <Button type="primary" disabled={isRunning || accounts === 0} onClick={() => begin('init')}>
            {t('all.init')}
          </Button>
          <Button disabled={isRunning || accounts === 0} onClick={() => begin('refresh')}>
            {t('all.refresh')}
          </Button>
          {isRunning && (
            <Button danger onClick={() => stop(realm)}>
              {t('all.stop')}
            </Button>
          )}
          {run && !isRunning && (
            <Button type="text" onClick={() => forget(realm)}>
              {t('all.forget')}
            </Button>
          )}
        </Flex>
        <Typography.Text type="secondary">{t('all.help')}</Typography.Text>
        {run && <Report run={run} />}
      </Flex>
    </Card>
  );
}

function Report({ run }: { run: Run }) {
  const { t } = useTranslation('accounts');
  const [shown, setShown] = useState<Outcome | 'all'>('all');
  const list = shown === 'all' ? run.results : run.results.filter((r) => r.result === shown);
  const tone =
    run.state === 'done' ? (run.counts.failed > 0 ? 'warning' : 'success') : run.state === 'stopped' ? 'info' : 'error';
  return (
    <Flex vertical gap="small">
      <Progress
        aria-label={t(`all.${run.kind}`)}
        percent={percent(run)}
        status={
          run.state === 'running'
            ? 'active'
            : run.state === 'done' && run.counts.failed === 0
              ? 'success'
              : run.state === 'stopped'
                ? 'normal'
                : 'exception'
        }
        format={() => `${run.results.length} / ${Math.max(run.expected, run.results.length)}`}
      />
      <div aria-live="polite">
        {run.state !== 'running' && (
          <Alert
            type={tone}
            showIcon
            title={t(`all.end.${run.state}`)}
            description={t('all.sum', { ...run.counts, time: seconds(run) })}
          />
        )}
        {run.state === 'failed' && <ApiErrorAlert error={run.error} />}
      </div>
      {run.results.length > 0 && (
        <>
          <Segmented
            value={shown}
            onChange={setShown}
            style={{ alignSelf: 'start' }}
            options={(['all', 'ok', 'skipped', 'failed'] as const).map((value) => ({
              value,
              label: `${t(`outcome.${value}`)} ${value === 'all' ? run.results.length : run.counts[value]}`,
            }))}
          />
          <Table<Result>
            rowKey={(r) => r.key}
            size="small"
            dataSource={list}
            scroll={{ x: 480 }}
            pagination={{ pageSize: 20, showSizeChanger: false, hideOnSinglePage: true }}
            locale={{ emptyText: '–' }}
            columns={[
              {
                title: t('column.key'),
                width: '35%',
                render: (_, r) => <span style={{ overflowWrap: 'anywhere' }}>{r.key}</span>,
              },
              {
                title: t('column.result'),
                width: 110,
                render: (_, r) => <Tag color={colors[r.result]}>{t(`outcome.${r.result}`)}</Tag>,
              },
              {
                title: t('column.reason'),
                render: (_, r) => <Why result={r} />,
              },
            ]}
          />
        </>
      )}
    </Flex>
  );
}

function Why({ result }: { result: Result }) {
  const { t, i18n } = useTranslation(['accounts', 'common']);
  const { text, said } = reasonOf(result, t as unknown as Translate, (name) => i18n.exists(name));
  return (
    <div style={{ overflowWrap: 'anywhere' }}>
      {text}
      <Said open lines={[said]} />
    </div>
  );
}

function seconds(run: Run): string {
  return (((run.endedAt ?? run.startedAt) - run.startedAt) / 1000).toFixed(1);
}
