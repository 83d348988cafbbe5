import { DownloadOutlined } from '@ant-design/icons';
import { Button, Progress, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { csvMark, csvRow } from '../../components/csv';
import { Said } from '../../components/Said';
import { WarningList } from '../../components/Warnings';
import { reportRows, type Result } from './bulk';

interface Props {
  total: number;
  results: Result[];
  isRunning: boolean;
  stop: () => void;
  again: () => void;
}

/** The last step: progress, and the report of what was not saved, or may be a slip. */
export function ImportProgress({ total, results, isRunning, stop, again }: Props) {
  const { t } = useTranslation('secrets');
  const count = (outcome: Result['outcome']) => results.filter((r) => r.outcome === outcome).length;
  const outcomes = {
    saved: t('import.saved'),
    held: t('import.held'),
    exists: t('import.exists'),
    refused: t('import.refused'),
    stopped: t('import.stopped'),
  };
  const others = results.filter((r) => r.outcome !== 'saved' || r.warnings);
  return (
    <div className="import panel">
      <Progress
        percent={total === 0 ? 100 : Math.floor((results.length / total) * 100)}
        status={isRunning ? 'active' : count('refused') + count('held') > 0 ? 'exception' : 'success'}
        aria-label={t('import.progress')}
      />
      <p role="status">
        {t('import.sum', {
          saved: count('saved') + count('held'),
          exists: count('exists'),
          refused: count('refused'),
          stopped: count('stopped'),
          total,
        })}
        {count('held') > 0 && ` ${t('import.sum_held', { count: count('held') })}`}
      </p>
      <div className="actions">
        {isRunning && (
          <Button danger onClick={stop}>
            {t('import.stop')}
          </Button>
        )}
        {!isRunning && (
          <>
            <Button icon={<DownloadOutlined aria-hidden />} onClick={() => download(csvMark + reportRows(results, outcomes).map(csvRow).join(''))}>
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
              render: (_, r) => <Tag color={r.warnings || r.outcome === 'held' ? 'warning' : r.outcome === 'refused' ? 'error' : 'default'}>{outcomes[r.outcome]}</Tag>,
            },
            { title: t('field.name'), render: (_, r) => (r.field ? <code>{r.field}</code> : '-') },
            { title: t('import.why'), render: (_, r) => <Why result={r} /> },
          ]}
        />
      )}
    </div>
  );
}

/** Why a line was not saved, or may be a slip: in the reader's language, and behind it in that of the API. */
function Why({ result: { outcome, code, detail, warnings } }: { result: Result }) {
  const { t, i18n } = useTranslation('secrets');
  if (outcome === 'held')
    return (
      <>
        {t('form.held')}
        {warnings && <WarningList warnings={warnings} />}
      </>
    );
  if (warnings) return <WarningList warnings={warnings} />;
  if (code === undefined || !i18n.exists(`common:error.${code}`)) return <>{detail ?? '-'}</>;
  return (
    <>
      {t(`common:error.${code}`)}
      <Said open lines={[detail]} />
    </>
  );
}

/** Hands a report to the browser as a file. */
function download(text: string) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = 'secrets-report.csv';
  link.click();
  URL.revokeObjectURL(url);
}
