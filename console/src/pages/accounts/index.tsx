import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Button, Card, Empty, Flex, Form, Select, Table, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { getJSON, type Page } from '../../api/client';
import { withQuery } from '../../api/path';
import { useMayFor, useSession } from '../../api/session';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { EmptyState } from '../../components/EmptyState';
import { PageHeader } from '../../components/PageHeader';
import { When } from '../../components/When';
import { useSearch } from '../../components/RealmSelect';
import { wayOf, type Config, type Way } from './authorizable';
import { RunPanel } from './RunPanel';

interface Realm {
  id: string;
  config?: Config;
}

interface Account {
  realm: string;
  key: string;
  read_only?: boolean;
  damaged?: boolean;
  updated_at?: string;
  status?: { state: string; expires_at?: string; next_refresh?: string };
}

const searched = 100;

// useRealms finds the realms whose accounts are authorized. The API knows no such
// filter, so that this one looks through the realms that it finds.
function useRealms(keyword: string) {
  const presets = useQuery({
    queryKey: ['preset-configs'],
    staleTime: Infinity,
    queryFn: async ({ signal }) =>
      Object.fromEntries(
        (await getJSON<Page<{ name: string; config: Config }>>('api/preset?pageSize=1000', signal)).data.list.map((p) => [
          p.name,
          p.config,
        ]),
      ),
  });
  const realms = useQuery({
    queryKey: ['realm-configs', keyword],
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }) => (await getJSON<Page<Realm>>(withQuery('api/realm', { page: 1, pageSize: searched, keyword }), signal)).data,
  });
  const list = (realms.data?.list ?? []).map((r) => ({ id: r.id, way: wayOf(r.config, presets.data?.[r.config?.preset ?? '']) }));
  return {
    list,
    total: realms.data?.total ?? 0,
    isLoading: realms.isLoading || presets.isLoading,
    error: realms.error ?? presets.error,
  };
}

// Accounts shows the accounts of a realm whose tokens need a login, and gets or
// renews the tokens of all of them.
export default function Accounts() {
  const { t } = useTranslation('accounts');
  const { may } = useSession();
  const [query, setQuery] = useSearchParams();
  const [keyword, search] = useSearch();
  const realms = useRealms(keyword);
  const some = realms.list.filter((r) => r.way !== 'none');
  const realm = query.get('realm') ?? some[0]?.id ?? '';
  const way = realms.list.find((r) => r.id === realm)?.way;
  const options = (ways: Way[]) => realms.list.filter((r) => ways.includes(r.way)).map((r) => ({ value: r.id, label: r.id }));

  return (
    <>
      <PageHeader namespace="accounts" />
      <ApiErrorAlert error={realms.error} />
      <Form layout="vertical">
        <Form.Item
          label={t('realm')}
          htmlFor="accounts-realm"
          style={{ maxWidth: 420 }}
          extra={way ? t(`way.${way}`) : undefined}
        >
          <Select
            id="accounts-realm"
            value={realm || null}
            loading={realms.isLoading}
            placeholder={t('choose')}
            onChange={(id) => setQuery({ realm: id })}
            showSearch={{ onSearch: search, filterOption: false }}
            options={[
              { label: t('group.server'), options: options(['server']) },
              { label: t('group.person'), options: options(['person']) },
              { label: t('group.none'), options: options(['none']) },
            ].filter((g) => g.options.length > 0)}
            notFoundContent={<Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('noRealms')} />}
          />
        </Form.Item>
      </Form>
      {!realms.isLoading && !realm && !realms.error && (
        <EmptyState title={t('noRealms')} text={t('noRealmsHint')}>
          {may('admin') && <Button href="#/realms/new/catalogue">{t('newRealm')}</Button>}
        </EmptyState>
      )}
      {realms.total > searched && (
        <Typography.Paragraph type="secondary">{t('moreRealms', { count: realms.total, shown: searched })}</Typography.Paragraph>
      )}
      {realm && <OfRealm key={realm} realm={realm} />}
    </>
  );
}

function OfRealm({ realm }: { realm: string }) {
  const { t } = useTranslation('accounts');
  const [query, setQuery] = useSearchParams();
  const page = Math.max(1, Number(query.get('page')) || 1);
  const mayFlush = useMayFor('flush', realm);
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: ['accounts', realm, page],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => getJSON<Page<Account>>(withQuery('api/secret', { realm, page, pageSize: 20, status: true }), signal),
  });
  const total = data?.data.total ?? 0;
  const stateColors: Record<string, string> = { live: 'green', expired: 'orange', failing: 'red', reauth_required: 'red' };
  return (
    <Flex vertical gap="middle">
      {mayFlush && <RunPanel realm={realm} accounts={total} onDone={() => void refetch()} />}
      <Card size="small" title={t('accounts', { count: total })}>
        <ApiErrorAlert error={error} />
        <Table<Account>
          rowKey="key"
          size="small"
          loading={isFetching && !data}
          dataSource={data?.data.list ?? []}
          scroll={{ x: 560 }}
          locale={{ emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('none', { realm })} /> }}
          pagination={{
            current: page,
            pageSize: 20,
            total,
            showSizeChanger: false,
            hideOnSinglePage: true,
            onChange: (p) => setQuery({ realm, page: String(p) }),
          }}
          columns={[
            {
              title: t('column.key'),
              render: (_, a) => (
                <Flex gap={6} wrap align="center">
                  <Link
                    to={`/secrets/${encodeURIComponent(a.realm)}/${encodeURIComponent(a.key)}`}
                    style={{ overflowWrap: 'anywhere' }}
                  >
                    {a.key}
                  </Link>
                  {a.read_only && <Tag>Caddyfile</Tag>}
                  {a.damaged && <Tag color="red">{t('damaged')}</Tag>}
                </Flex>
              ),
            },
            {
              title: t('column.state'),
              width: 180,
              render: (_, a) =>
                a.status ? (
                  <Tag color={stateColors[a.status.state] ?? 'default'}>
                    {t(`state.${a.status.state}`, { defaultValue: a.status.state })}
                  </Tag>
                ) : (
                  <Typography.Text type="secondary">{t('state.idle')}</Typography.Text>
                ),
            },
            { title: t('column.expires'), width: 190, render: (_, a) => <When time={a.status?.expires_at} /> },
            { title: t('column.next'), width: 190, render: (_, a) => <When time={a.status?.next_refresh} /> },
          ]}
        />
      </Card>
    </Flex>
  );
}
