import { Alert, Button, Radio, Table, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import type { Reading } from './bulk';

interface Props {
  reading: Reading;
  replaces: boolean;
  setReplaces: (on: boolean) => void;
  back: () => void;
  send: () => void;
}

/** The second step. What was read: keys in clear, values only as set or not. */
export function ImportPreview({ reading, replaces, setReplaces, back, send }: Props) {
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
