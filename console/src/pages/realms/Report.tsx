import { Alert, Steps, Table, Tag } from 'antd';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Said } from '../../components/Said';
import { adviceText } from './advice';
import type { Report, TestCall } from './api';
import type { Preset } from './draft';
import { Sentence } from './Sentence';
import { durationOf } from './words';

type Step = { title: string; status: 'finish' | 'error' | 'wait'; content: ReactNode };

/** What a dry run did, step by step, with the advice on top. */
export function ReportView({ report, preset }: { report: Report; preset: Preset | undefined }) {
  const { t } = useTranslation('realms');
  // A fixed token is not requested; the call alone tells whether it is good.
  const isFixed = report.fault === 'fixed_token' && report.call !== undefined;
  const isGood = (report.token !== undefined || isFixed) && (!report.call || isAccepted(report.call));
  return (
    <section className="report" aria-label={t('test.report')}>
      <Alert
        role="status"
        showIcon
        type={isGood ? 'success' : 'error'}
        title={isGood ? t('test.good') : report.token || isFixed ? t('test.call_failed') : t('test.failed')}
      />
      <AdviceList report={report} preset={preset} />
      <Said lines={[isFixed ? undefined : report.error, ...(report.warnings ?? [])]} />
      <Steps orientation="vertical" size="small" items={stepsOf(report, t)} />
    </section>
  );
}

function isAccepted(call: TestCall): boolean {
  return !call.dead && call.response !== undefined && call.response.status < 400;
}

/** What is probably wrong, and what to do next. */
function AdviceList({ report, preset }: { report: Report; preset: Preset | undefined }) {
  const { t, i18n } = useTranslation('doctor');
  const texts = { language: i18n.language, t, exists: (key: string) => i18n.exists(key) };
  return report.advice
    ?.filter((advice) => advice.code !== 'fixed_token' || !report.call)
    .map((advice) => (
      <Alert
        key={advice.code}
        type={report.token ? 'info' : 'warning'}
        showIcon
        title={<Sentence text={adviceText(advice, texts, preset)} />}
      />
    ));
}

type Translate = (key: string, values?: Record<string, unknown>) => string;

function stepsOf(report: Report, t: Translate): Step[] {
  const { request, response, token, call } = report;
  const wasSent = request.url !== '';
  const steps: Step[] = [];
  if (report.fault !== 'fixed_token') {
    steps.push({
      title: t('step.request'),
      status: wasSent ? 'finish' : token ? 'finish' : 'error',
      content: (
        <>
          {report.fields?.map((fault) => (
            <p key={fault.name}>
              <Tag color="warning">{fault.name}</Tag> {t(`fault.${fault.fault}`, { other: fault.other ?? '' })}
            </p>
          ))}
          {wasSent ? <RequestView request={request} /> : <p>{token ? t('step.computed') : t('step.not_sent')}</p>}
        </>
      ),
    });
  }
  if (wasSent) {
    steps.push({
      title: t('step.answer'),
      status: response ? (response.status < 400 && !report.error ? 'finish' : 'error') : 'error',
      content: response ? (
        <AnswerView answer={response} />
      ) : (
        <p>{t('step.no_answer')}</p>
      ),
    });
  }
  if (report.found && report.found.length > 0) {
    steps.push({
      title: t('step.found'),
      status: report.found.some((v) => v.what === 'token' && v.found) ? 'finish' : 'error',
      content: <FoundView found={report.found} rule={report.rule} />,
    });
  }
  if (token || wasSent) {
    steps.push({
      title: t('step.token'),
      status: token ? 'finish' : response ? 'error' : 'wait',
      content: token ? <TokenView report={report} /> : <p>{t('step.no_token')}</p>,
    });
  }
  if (call) {
    steps.push({
      title: t('step.call'),
      status: isAccepted(call) ? 'finish' : 'error',
      content: <CallView call={call} />,
    });
  }
  return steps;
}

function RequestView({ request }: { request: Report['request'] }) {
  const head = Object.entries(request.header ?? {}).map(([name, value]) => `${name}: ${value}`);
  const text = [`${request.method} ${request.url}`, ...head, ...(request.body ? ['', request.body] : [])].join('\n');
  return <pre tabIndex={0}>{text}</pre>;
}

function AnswerView({ answer }: { answer: NonNullable<Report['response']> }) {
  const { t, i18n } = useTranslation('realms');
  const skew = answer.clock_skew_ms ?? 0;
  return (
    <>
      <p>
        <Tag color={answer.status < 400 ? 'success' : 'error'}>HTTP {answer.status}</Tag>
        {[answer.content_type, t('step.bytes', { bytes: answer.bytes }), `${answer.duration_ms} ms`]
          .filter(Boolean)
          .join(' · ')}
      </p>
      {answer.names && answer.names.length > 0 && (
        <p>
          {t('step.names')}{' '}
          {answer.names.map((name) => (
            <Tag key={name}>{name}</Tag>
          ))}
        </p>
      )}
      {answer.provider_code && (
        <p>
          {t('step.provider_code')} <code>{answer.provider_code}</code> {answer.provider_message}
        </p>
      )}
      {answer.location && <p>{t('step.location', { host: answer.location })}</p>}
      {Math.abs(skew) > 60_000 && <p>{t('step.skew', { skew: durationOf(Math.abs(skew), i18n.language) })}</p>}
    </>
  );
}

function FoundView({ found, rule }: { found: NonNullable<Report['found']>; rule: Report['rule'] }) {
  const { t } = useTranslation('realms');
  return (
    <>
      <Table
        size="small"
        pagination={false}
        rowKey="what"
        dataSource={found}
        scroll={{ x: 'max-content' }}
        columns={[
          { title: t('step.what'), render: (_, v) => <code>{v.what}</code> },
          { title: t('step.at'), render: (_, v) => <code>{v.at || '-'}</code> },
          {
            title: t('step.result'),
            render: (_, v) =>
              v.found ? (
                <Tag color="success">{v.type ? t(`type.${v.type}`) : t('step.is_there')}</Tag>
              ) : (
                <Tag>{t('step.is_absent')}</Tag>
              ),
          },
          { title: t('step.alike'), render: (_, v) => v.alike?.map((path) => <Tag key={path}>{path}</Tag>) ?? '-' },
        ]}
      />
      {rule && (
        <p>
          {t('step.rule')}{' '}
          <code>{`${rule.list}${rule.index === undefined ? '' : `[${rule.index}]`} ${rule.at ?? ''}`}</code>
        </p>
      )}
    </>
  );
}

function TokenView({ report }: { report: Report }) {
  const { t, i18n } = useTranslation('realms');
  const { token, expiry } = report;
  if (!token) return null;
  return (
    <>
      <p>{t('step.length', { length: token.length })}</p>
      {expiry && (
        <p>
          {expiry.expires_in === null
            ? t('step.no_end')
            : t('step.life', { life: durationOf(expiry.expires_in, i18n.language), from: t(`from.${expiry.from}`) })}
        </p>
      )}
      {token.refresh_token && <p>{t('step.refresh_token')}</p>}
      <p>{report.saved ? t('step.saved') : t('step.not_saved')}</p>
    </>
  );
}

function CallView({ call }: { call: TestCall }) {
  const { t, i18n } = useTranslation('realms');
  return (
    <>
      <pre tabIndex={0}>{`${call.method} ${call.path}`}</pre>
      {call.response && <AnswerView answer={call.response} />}
      {call.dead && <p>{t('step.dead')}</p>}
      {call.error && (
        <>
          <p>{i18n.exists(`common:error.${call.code}`) ? t(`common:error.${call.code}`) : <code>{call.code}</code>}</p>
          <Said lines={[call.error]} />
        </>
      )}
    </>
  );
}
