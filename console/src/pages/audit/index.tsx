import { keepPreviousData, useQuery } from '@tanstack/react-query';
import {
  Alert,
  Button,
  Card,
  Col,
  DatePicker,
  Descriptions,
  Empty,
  Form,
  Grid,
  Input,
  Row,
  Select,
  Space,
  Table,
  Tag,
  Typography,
} from 'antd';
import dayjs from 'dayjs';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { getJSON, type Page } from '../../api/client';
import { withQuery } from '../../api/path';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { useSession } from '../../api/session';
import { Said } from '../../components/Said';
import { Export } from './Export';
import { acts, pageSizes, queryOf, viewOf, type AuditEntry, type Filter, type View } from './filter';
import { Verify } from './Verify';
import { codeText, detailText, entryInWords, exactTime, objectText, type Translate } from './words';

const colors = { ok: 'green', refused: 'orange', failed: 'red' } as const;

// Audit shows who did what to what. Filter and page stand in the address, so that
// a view can be shared.
export default function Audit() {
  const { t } = useTranslation('audit');
  const { mayAll, session } = useSession();
  const [query, setQuery] = useSearchParams();
  const view = viewOf(query);
  const show = (more: Partial<View>) => setQuery(queryOf({ ...view, ...more }));
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: ['audit', queryOf(view).toString()],
    queryFn: ({ signal }) =>
      getJSON<Page<AuditEntry>>(withQuery('api/audit', { ...view.filter, page: view.page, pageSize: view.pageSize }), signal),
    placeholderData: keepPreviousData,
    enabled: mayAll('audit'),
  });
  const total = data?.data.total ?? 0;
  const isFiltered = Object.keys(view.filter).length > 0;
  if (session && !mayAll('audit')) return <Alert type="info" showIcon title={t('noRight')} />;

  return (
    <>
      <PageHeader namespace="audit">
        <Button onClick={() => void refetch()} loading={isFetching}>
          {t('common:reload')}
        </Button>
      </PageHeader>
      <FilterForm filter={view.filter} onChange={(filter) => show({ filter, page: 1 })} />
      <ApiErrorAlert error={error} />
      <Entries
        list={data?.data.list ?? []}
        loading={isFetching && !data}
        isFiltered={isFiltered}
        total={total}
        view={view}
        onPage={(page, pageSize) => show({ page, pageSize })}
      />
      <Row gutter={[16, 16]} style={{ marginTop: 16 }}>
        <Col xs={24} lg={12}>
          <Export filter={view.filter} total={total} />
        </Col>
        <Col xs={24} lg={12}>
          <Verify />
        </Col>
      </Row>
    </>
  );
}

interface EntriesProps {
  list: AuditEntry[];
  loading: boolean;
  isFiltered: boolean;
  total: number;
  view: View;
  onPage: (page: number, pageSize: number) => void;
}

function Entries({ list, loading, isFiltered, total, view, onPage }: EntriesProps) {
  const { t, i18n } = useTranslation('audit');
  const words = t as unknown as Translate;
  const wide = Grid.useBreakpoint().md ?? true;
  return (
    <Table<AuditEntry>
      rowKey="id"
      size="small"
      loading={loading}
      dataSource={list}
      scroll={wide ? { x: 820 } : {}}
      locale={{
        emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t(isFiltered ? 'empty.found' : 'empty.none')} />,
      }}
      pagination={{
        current: view.page,
        pageSize: view.pageSize,
        total,
        showSizeChanger: true,
        pageSizeOptions: pageSizes,
        hideOnSinglePage: total <= pageSizes[0]!,
        showTotal: (n) => t('common:total', { total: n }),
        onChange: onPage,
      }}
      expandable={{ expandedRowRender: (e) => <Whole entry={e} />, columnWidth: 40 }}
      columns={[
        {
          title: t('column.time'),
          width: wide ? 190 : 100,
          render: (_, e) => (
            <time dateTime={e.time} title={e.time}>
              {exactTime(e.time, i18n.language)}
            </time>
          ),
        },
        {
          title: t('column.what'),
          render: (_, e) => (
            <span style={{ overflowWrap: 'anywhere' }}>
              {entryInWords(e, words)}
              {e.count && e.count > 1 ? (
                <Typography.Text type="secondary"> {t('times', { count: e.count })}</Typography.Text>
              ) : null}
            </span>
          ),
        },
        {
          title: t('column.object'),
          responsive: ['md'],
          width: 180,
          render: (_, e) => <span style={{ overflowWrap: 'anywhere' }}>{objectText(e, words) || '–'}</span>,
        },
        {
          title: t('column.address'),
          responsive: ['md'],
          width: 140,
          render: (_, e) => <span style={{ overflowWrap: 'anywhere' }}>{e.address ?? '–'}</span>,
        },
        {
          title: t('column.result'),
          width: wide ? 100 : 76,
          render: (_, e) => <Tag color={colors[e.result]}>{t(`result.${e.result}`)}</Tag>,
        },
      ]}
    />
  );
}

// Whole shows all of an entry.
function Whole({ entry }: { entry: AuditEntry }) {
  const { t } = useTranslation('audit');
  const words = t as unknown as Translate;
  return (
    <Descriptions
      size="small"
      column={{ xs: 1, lg: 2 }}
      items={[
        {
          key: 'act',
          label: t('column.act'),
          children: (
            <>
              {t(`act.${entry.act}`, { defaultValue: entry.act, keySeparator: '/' })}{' '}
              <Typography.Text code>{entry.act}</Typography.Text>
            </>
          ),
        },
        { key: 'time', label: t('column.time'), children: entry.time },
        ...(objectText(entry, words) ? [{ key: 'object', label: t('column.object'), children: objectText(entry, words) }] : []),
        ...(entry.address ? [{ key: 'address', label: t('column.address'), children: entry.address }] : []),
        ...(entry.code
          ? [
              {
                key: 'code',
                label: t('column.why'),
                children: (
                  <>
                    {codeText(entry.code, words)} <Typography.Text code>{entry.code}</Typography.Text>
                  </>
                ),
              },
            ]
          : []),
        ...(entry.detail
          ? [
              {
                key: 'detail',
                label: t('column.detail'),
                children: (
                  <div style={{ overflowWrap: 'anywhere' }}>{detailText(entry.detail, words) ?? <Said open lines={[entry.detail]} />}</div>
                ),
              },
            ]
          : []),
        { key: 'chain', label: t('column.chain'), children: t('chain', { node: entry.node, seq: entry.seq }) },
        {
          key: 'id',
          label: t('column.id'),
          children: (
            <Typography.Text copyable style={{ overflowWrap: 'anywhere' }}>
              {entry.id}
            </Typography.Text>
          ),
        },
        ...(entry.count ? [{ key: 'count', label: t('column.count'), children: entry.count }] : []),
      ]}
    />
  );
}

// FilterForm narrows the list down. Texts count when somebody presses Enter or
// leaves the field, so that not every letter is a search.
function FilterForm({ filter, onChange }: { filter: Filter; onChange: (filter: Filter) => void }) {
  const { t } = useTranslation('audit');
  const set = (more: Filter) =>
    onChange(Object.fromEntries(Object.entries({ ...filter, ...more }).filter(([, v]) => v)) as Filter);
  return (
    <Card size="small" style={{ marginBottom: 16 }}>
      <Form layout="vertical" onSubmitCapture={(e) => e.preventDefault()}>
        <Row gutter={12}>
          <Col xs={24} lg={10}>
            <Form.Item label={t('filter.time')} htmlFor="audit-from" style={{ marginBottom: 8 }}>
              <DatePicker.RangePicker
                id={{ start: 'audit-from', end: 'audit-to' }}
                showTime={{ format: 'HH:mm' }}
                format="YYYY-MM-DD HH:mm"
                allowEmpty={[true, true]}
                style={{ width: '100%' }}
                value={[filter.from ? dayjs(filter.from) : null, filter.to ? dayjs(filter.to) : null]}
                onChange={(range) =>
                  set({ from: range?.[0]?.toDate().toISOString() ?? '', to: range?.[1]?.toDate().toISOString() ?? '' })
                }
              />
            </Form.Item>
          </Col>
          <Col xs={24} sm={12} lg={7}>
            <Form.Item label={t('filter.act')} htmlFor="audit-act" style={{ marginBottom: 8 }}>
              <Select
                id="audit-act"
                allowClear
                value={filter.act ?? null}
                placeholder={t('filter.all')}
                onChange={(act) => set({ act: act ?? '' })}
                showSearch={{ optionFilterProp: 'label' }}
                options={Object.entries(acts).map(([group, names]) => ({
                  label: t(`group.${group}`),
                  options: names.map((value) => ({ value, label: t(`act.${value}`, { keySeparator: '/' }) })),
                }))}
              />
            </Form.Item>
          </Col>
          <Col xs={24} sm={12} lg={7}>
            <Form.Item label={t('filter.result')} htmlFor="audit-result" style={{ marginBottom: 8 }}>
              <Select
                id="audit-result"
                allowClear
                value={filter.result ?? null}
                placeholder={t('filter.all')}
                onChange={(result) => set({ result: result ?? '' })}
                options={(['ok', 'refused', 'failed'] as const).map((value) => ({ value, label: t(`result.${value}`) }))}
              />
            </Form.Item>
          </Col>
          {(['actor', 'realm', 'key'] as const).map((name) => (
            <Col key={name} xs={24} sm={8} lg={name === 'actor' ? 10 : 7}>
              <Form.Item label={t(`filter.${name}`)} htmlFor={`audit-${name}`} style={{ marginBottom: 8 }}>
                <Text
                  id={`audit-${name}`}
                  value={filter[name] ?? ''}
                  placeholder={t(`filter.${name}Hint`)}
                  onChange={(text) => set({ [name]: text })}
                />
              </Form.Item>
            </Col>
          ))}
        </Row>
        <Space>
          <Button size="small" disabled={Object.keys(filter).length === 0} onClick={() => onChange({})}>
            {t('filter.clear')}
          </Button>
          <Typography.Text type="secondary">{t('filter.share')}</Typography.Text>
        </Space>
      </Form>
    </Card>
  );
}

function Text({
  id,
  value,
  placeholder,
  onChange,
}: {
  id: string;
  value: string;
  placeholder: string;
  onChange: (text: string) => void;
}) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const settle = (text: string) => {
    if (text.trim() !== value) onChange(text.trim());
  };
  return (
    <Input
      id={id}
      allowClear
      autoComplete="off"
      spellCheck={false}
      placeholder={placeholder}
      value={typed}
      onChange={(e) => {
        setTyped(e.target.value);
        if (e.target.value === '') settle('');
      }}
      onPressEnter={() => settle(typed)}
      onBlur={() => settle(typed)}
    />
  );
}
