import { DownloadOutlined, InboxOutlined } from '@ant-design/icons';
import { Alert, Button, Form, Input, Progress, Radio, Skeleton, Table, Tag, Upload } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { ApiError } from '../../api/error';
import { queryClient } from '../../api/query';
import { useHere } from '../../api/session';
import { PageHeader } from '../../components/PageHeader';
import { RealmPicker } from '../realms/RealmPicker';
import { type Fault, type Item, readSecrets, type Reading, reportRows, type Result, sendAll } from './bulk';
import { decodeFile, parseTable, writeTable } from './csv';
import { type RealmFields, useFields } from './fields';
import { sendOne } from './sendOne';
import '../realms/realms.css';
import './secrets.css';

const CONCURRENCY = 4;
const MAX_BYTES = 16 * 1024 * 1024;

/** Adds many secrets of one realm from a table. */
export default function ImportPage() {
  const { t } = useTranslation('secrets');
  const [params, setParams] = useSearchParams();
  const realm = params.get('realm') ?? '';
  const fields = useFields(realm);
  const may = useHere(realm === '' ? undefined : realm);
  return (
    <>
      <PageHeader namespace="secrets" title={t('add_many')}>
        <Button href="#/secrets">{t('to_list')}</Button>
      </PageHeader>
      <Form layout="vertical" className="secret-form">
        <Form.Item label={t('realm')} htmlFor="realm" required>
          <RealmPicker
            id="realm"
            label={t('choose_realm')}
            value={realm}
            onChange={(id) => setParams({ realm: id }, { replace: true })}
          />
        </Form.Item>
      </Form>
      {realm !== '' && !fields && <Skeleton active />}
      {fields && !may('admin') && <Alert type="info" showIcon title={t('no_right')} />}
      {fields && may('admin') && <ImportForm key={realm} realm={realm} of={fields} />}
    </>
  );
}

/** The steps: a table, a preview without values, sending, a report. */
export function ImportForm({ realm, of }: { realm: string; of: RealmFields }) {
  const { t } = useTranslation('secrets');
  const [text, setText] = useState('');
  const [reading, setReading] = useState<Reading | null>(null);
  const [error, setError] = useState('');
  const [replaces, setReplaces] = useState(false);
  const [sending, setSending] = useState<{ total: number; results: Result[]; isRunning: boolean } | null>(null);
  const stop = useRef<AbortController | null>(null);
  // Whoever leaves the page stops what was not sent.
  useEffect(() => () => stop.current?.abort(), []);

  const read = (table: string) => {
    setReading(readSecrets(parseTable(table), of.fields, of.given));
    setText('');
    setError('');
  };
  const readFile = async (file: File) => {
    if (file.size > MAX_BYTES) setError(t('import.too_large'));
    else read(decodeFile(new Uint8Array(await file.arrayBuffer())));
  };
  const send = async (items: Item[], faults: Result[]) => {
    const abort = new AbortController();
    stop.current = abort;
    const results = [...faults];
    let shownAt = 0;
    setReading(null);
    setSending({ total: items.length + faults.length, results: [...results], isRunning: true });
    await sendAll(items, (item) => sendOne(realm, item, replaces, abort.signal), {
      concurrency: CONCURRENCY,
      signal: abort.signal,
      onResult: (result) => {
        results.push(result);
        // The page is drawn a few times a second, however fast the answers come.
        if (performance.now() - shownAt < 150) return;
        shownAt = performance.now();
        setSending({ total: items.length + faults.length, results: [...results], isRunning: true });
      },
    });
    setSending({ total: items.length + faults.length, results, isRunning: false });
    void queryClient.invalidateQueries({ queryKey: ['secrets'] });
  };

  if (sending) {
    return <Sending {...sending} stop={() => stop.current?.abort()} again={() => setSending(null)} />;
  }
  if (reading) {
    return (
      <PreviewTable
        reading={reading}
        replaces={replaces}
        setReplaces={setReplaces}
        back={() => setReading(null)}
        send={() =>
          void send(
            reading.items,
            faultResults(reading, (fault) => t(`import.fault.${fault.code}`, { field: fault.field ?? '' })),
          )
        }
      />
    );
  }
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
          void readFile(file).catch((reason: unknown) =>
            setError(reason instanceof ApiError ? reason.detail : t('import.unreadable')),
          );
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

function faultResults(reading: Reading, textOf: (fault: Fault) => string): Result[] {
  return reading.faults.map((fault) => ({
    line: fault.line,
    key: fault.key,
    outcome: 'refused',
    code: fault.code,
    detail: textOf(fault),
    ...(fault.field ? { field: fault.field } : {}),
  }));
}

interface PreviewProps {
  reading: Reading;
  replaces: boolean;
  setReplaces: (on: boolean) => void;
  back: () => void;
  send: () => void;
}

/** What was read: keys in clear, values only as set or not. */
function PreviewTable({ reading, replaces, setReplaces, back, send }: PreviewProps) {
  const { t } = useTranslation('secrets');
  const whole = reading.faults.find((f) => f.line === 0 || f.code === 'open_quote');
  return (
    <div className="import panel">
      {whole && (
        <Alert
          className="api-error"
          type="error"
          showIcon
          title={t(`import.fault.${whole.code}`, { field: whole.field ?? '' })}
          description={whole.line > 0 ? t('import.at_line', { line: whole.line }) : undefined}
        />
      )}
      {!whole && <p role="status">{t('import.found', { count: reading.items.length })}</p>}
      {reading.unknown.length > 0 && (
        <Alert
          className="api-error"
          type="warning"
          showIcon
          title={t('import.unknown', { names: reading.unknown.join(', ') })}
        />
      )}
      {!whole && reading.faults.length > 0 && (
        <Alert
          className="api-error"
          type="warning"
          showIcon
          title={t('import.faults', { count: reading.faults.length })}
        />
      )}
      {!whole && (
        <>
          <Table
            size="small"
            rowKey="line"
            dataSource={[
              ...reading.faults.map((f) => ({
                line: f.line,
                key: f.key,
                fields: {} as Record<string, string>,
                fault: f,
              })),
              ...reading.items.map((item) => ({ ...item, fault: undefined })),
            ]}
            pagination={{ pageSize: 10, showSizeChanger: false, hideOnSinglePage: true }}
            scroll={{ x: 'max-content' }}
            columns={[
              { title: t('import.line'), dataIndex: 'line' },
              { title: t('key'), dataIndex: 'key' },
              ...reading.columns.map((name) => ({
                title: name,
                render: (_: unknown, row: { fields: Record<string, string> }) =>
                  row.fields[name] === undefined ? '-' : <span aria-label={t('field.set')}>••••••</span>,
              })),
              {
                title: t('import.result'),
                render: (_, row) =>
                  row.fault ? (
                    <Tag color="error">{t(`import.fault.${row.fault.code}`, { field: row.fault.field ?? '' })}</Tag>
                  ) : (
                    <Tag>{t('import.ready')}</Tag>
                  ),
              },
            ]}
          />
          <Radio.Group
            className="replaces"
            aria-label={t('import.existing')}
            value={replaces}
            onChange={(event) => setReplaces(event.target.value as boolean)}
            options={[
              { value: false, label: t('import.skip') },
              { value: true, label: t('import.replace') },
            ]}
          />
        </>
      )}
      <div className="actions">
        {!whole && (
          <Button type="primary" disabled={reading.items.length === 0} onClick={send}>
            {t('import.send', { count: reading.items.length })}
          </Button>
        )}
        <Button onClick={back}>{t('import.other')}</Button>
      </div>
    </div>
  );
}

interface SendingProps {
  total: number;
  results: Result[];
  isRunning: boolean;
  stop: () => void;
  again: () => void;
}

/** Progress, and the report of what was not saved. */
function Sending({ total, results, isRunning, stop, again }: SendingProps) {
  const { t } = useTranslation('secrets');
  const count = (outcome: Result['outcome']) => results.filter((r) => r.outcome === outcome).length;
  const outcomes = {
    saved: t('import.saved'),
    exists: t('import.exists'),
    refused: t('import.refused'),
    stopped: t('import.stopped'),
  };
  const others = results.filter((r) => r.outcome !== 'saved');
  return (
    <div className="import panel">
      <Progress
        percent={total === 0 ? 100 : Math.floor((results.length / total) * 100)}
        status={isRunning ? 'active' : count('refused') > 0 ? 'exception' : 'success'}
        aria-label={t('import.progress')}
      />
      <p role="status">
        {t('import.sum', {
          saved: count('saved'),
          exists: count('exists'),
          refused: count('refused'),
          stopped: count('stopped'),
          total,
        })}
      </p>
      <div className="actions">
        {isRunning && (
          <Button danger onClick={stop}>
            {t('import.stop')}
          </Button>
        )}
        {!isRunning && (
          <>
            <Button icon={<DownloadOutlined />} onClick={() => download(writeTable(reportRows(results, outcomes)))}>
              {t('import.report')}
            </Button>
            <Button onClick={again}>{t('import.again')}</Button>
          </>
        )}
      </div>
      {others.length > 0 && (
        <Table
          size="small"
          rowKey={(r) => `${r.line}/${r.code ?? ''}`}
          dataSource={[...others].sort((a, b) => a.line - b.line)}
          pagination={{ pageSize: 20, showSizeChanger: false, hideOnSinglePage: true }}
          scroll={{ x: 'max-content' }}
          columns={[
            { title: t('import.line'), dataIndex: 'line' },
            { title: t('key'), dataIndex: 'key' },
            {
              title: t('import.result'),
              render: (_, r) => <Tag color={r.outcome === 'refused' ? 'error' : 'default'}>{outcomes[r.outcome]}</Tag>,
            },
            { title: t('field.name'), render: (_, r) => (r.field ? <code>{r.field}</code> : '-') },
            { title: t('import.why'), render: (_, r) => r.detail ?? '-' },
          ]}
        />
      )}
    </div>
  );
}

/** Hands a report to the browser as a file. It begins with a byte order mark, so that spreadsheets read it as UTF-8. */
function download(text: string) {
  const url = URL.createObjectURL(new Blob(['\uFEFF', text], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = 'secrets-report.csv';
  link.click();
  URL.revokeObjectURL(url);
}
