import { Alert, Button, Flex, type TableColumnsType, Tag, Tooltip, Typography } from 'antd';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';
import { DataTable } from '../../components/DataTable';
import { EmptyState } from '../../components/EmptyState';
import { TimeAgo } from '../../components/TimeAgo';
import { PageHeader } from '../../components/PageHeader';
import { When } from '../../components/When';
import { useSession } from '../../api/session';
import { listClients, type Client } from './client';
import { broad } from './rule';
import { list, ruleInWords, type Translate } from './words';

const idOf = (client: Client) => client.id;

// ClientList lists the clients. The API pages and searches: there may be ten
// thousand.
export default function ClientList() {
  const { t } = useTranslation('clients');
  const navigate = useNavigate();
  const { mayAll, session } = useSession();
  const create = mayAll('admin') && (
    <Button type="primary" onClick={() => void navigate('/clients/-/new')}>
      {t('new')}
    </Button>
  );
  const columns = useMemo<TableColumnsType<Client>>(
    () => [
      {
        title: t('column.id'),
        render: (_, c) => (
          <Flex vertical gap={2} style={{ maxWidth: 280 }}>
            <Flex gap={6} align="center" wrap>
              <Link to={`/clients/${encodeURIComponent(c.id)}`} style={{ overflowWrap: 'anywhere' }}>
                {c.id}
              </Link>
              <Badges client={c} />
            </Flex>
            {c.comment && (
              <Typography.Text type="secondary" ellipsis={{ tooltip: true }}>
                {c.comment}
              </Typography.Text>
            )}
          </Flex>
        ),
      },
      { title: t('column.may'), render: (_, c) => <May client={c} /> },
      { title: t('column.identity'), render: (_, c) => <Identity client={c} /> },
      { title: t('column.used'), render: (_, c) => <TimeAgo at={c.used_at} /> },
      { title: t('column.expires'), render: (_, c) => <When time={c.expires_at} none={t('never')} /> },
    ],
    [t],
  );
  if (session && !mayAll('admin_read')) return <Alert type="info" showIcon title={t('noRight')} />;
  return (
    <>
      <PageHeader namespace="clients">{create}</PageHeader>
      <DataTable<Client>
        queryKey={['clients']}
        rowKey={idOf}
        label={t('title')}
        search={t('search')}
        load={async ({ page, pageSize, keyword, signal }) => (await listClients(page, pageSize, keyword ?? '', signal)).data}
        empty={
          <EmptyState title={t('empty.none')} text={t('empty.hint')}>
            {create}
          </EmptyState>
        }
        columns={columns}
      />
    </>
  );
}

// Badges say what is special about a client.
export function Badges({ client }: { client: Client }) {
  const { t } = useTranslation('clients');
  return (
    <>
      {client.read_only && (
        <Tooltip title={t('readOnlyHint')}>
          <Tag tabIndex={0}>{t('readOnly')}</Tag>
        </Tooltip>
      )}
      {client.damaged && (
        <Tooltip title={t('damagedHint')}>
          <Tag tabIndex={0} color="red">
            {t('damaged')}
          </Tag>
        </Tooltip>
      )}
      {isOver(client) && <Tag color="orange">{t('expired')}</Tag>}
    </>
  );
}

function isOver(c: Client): boolean {
  return c.expires_at !== null && Date.parse(c.expires_at) <= Date.now();
}

// May says the first rules in words.
function May({ client }: { client: Client }) {
  const { t } = useTranslation('clients');
  const shown = client.rules.slice(0, 2);
  const more = client.rules.length - shown.length;
  if (shown.length === 0) return <Typography.Text type="secondary">{t('noRules')}</Typography.Text>;
  return (
    <Flex vertical gap={2} style={{ width: 440, maxWidth: '60vw', whiteSpace: 'normal' }}>
      {shown.map((rule, i) => (
        <Typography.Text
          key={i}
          type={broad(rule).some((b) => b.level === 'danger') ? 'danger' : undefined}
          style={{ overflowWrap: 'anywhere' }}
        >
          {ruleInWords(rule, t as unknown as Translate)}
        </Typography.Text>
      ))}
      {more > 0 && <Typography.Text type="secondary">{t('more', { count: more })}</Typography.Text>}
    </Flex>
  );
}

function Identity({ client }: { client: Client }) {
  const { t } = useTranslation('clients');
  const parts = (
    [
      ['key', client.keys.length],
      ['user', client.users.length],
      ['subject', client.subjects.length],
      ['source', client.sources.length],
    ] as const
  ).filter(([, n]) => n > 0);
  if (parts.length === 0) return <Typography.Text type="secondary">{t('identity.nobody')}</Typography.Text>;
  return (
    <>
      {list(
        parts.map(([name, count]) => t(`identity.${name}`, { count })),
        t as unknown as Translate,
        'and',
      )}
    </>
  );
}
