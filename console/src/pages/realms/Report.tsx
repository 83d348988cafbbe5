import { Alert, Steps, Table, Tag } from 'antd';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Report, TestCall } from './api';
import type { Preset } from './draft';
import { Sentence } from './Sentence';
import { durationOf, type Language } from './words';

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
        description={isFixed ? undefined : report.error}
      />
      <AdviceList report={report} preset={preset} />
      {report.warnings?.map((text) => (
        <Alert key={text} type="warning" showIcon title={text} />
      ))}
      <Steps orientation="vertical" size="small" items={stepsOf(report, t)} />
    </section>
  );
}

function isAccepted(call: TestCall): boolean {
  return !call.dead && call.response !== undefined && call.response.status < 400;
}

/** The advice. Where the catalogue knows the refusal in the person's language, that is shown. */
function AdviceList({ report, preset }: { report: Report; preset: Preset | undefined }) {
  const { i18n } = useTranslation();
  const language = i18n.language as Language;
  const codes: Record<string, string | undefined> = {
    preset: report.response?.provider_code,
    preset_call: report.call?.response?.provider_code,
  };
  const textOf = (advice: { code: string; text: string }) => {
    const known = preset?.errors.find((e) => advice.code in codes && e.code === codes[advice.code]);
    return known && language !== 'en' ? `${known.code}: ${known[language]}` : advice.text;
  };
  return report.advice
    ?.filter((advice) => advice.code !== 'fixed_token' || !report.call)
    .map((advice) => (
      <Alert
        key={advice.code}
        type={report.token ? 'info' : 'warning'}
        showIcon
        title={<Sentence text={textOf(advice)} />}
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
        <p>{t('step.no_answer', { fault: report.fault ?? '' })}</p>
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
  const { t } = useTranslation('realms');
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
      {Math.abs(skew) > 60_000 && <p>{t('step.skew', { skew: durationOf(Math.abs(skew)) })}</p>}
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
  const { t } = useTranslation('realms');
  const { token, expiry } = report;
  if (!token) return null;
  return (
    <>
      <p>{t('step.length', { length: token.length })}</p>
      {expiry && (
        <p>
          {expiry.expires_in === null
            ? t('step.no_end')
            : t('step.life', { life: durationOf(expiry.expires_in), from: t(`from.${expiry.from}`) })}
        </p>
      )}
      {token.refresh_token && <p>{t('step.refresh_token')}</p>}
      <p>{report.saved ? t('step.saved') : t('step.not_saved')}</p>
    </>
  );
}

function CallView({ call }: { call: TestCall }) {
  const { t } = useTranslation('realms');
  return (
    <>
      <pre tabIndex={0}>{`${call.method} ${call.path}`}</pre>
      {call.response && <AnswerView answer={call.response} />}
      {call.dead && <p>{t('step.dead')}</p>}
      {call.error && (
        <p>
          <code>{call.code}</code> {call.error}
        </p>
      )}
    </>
  );
}
