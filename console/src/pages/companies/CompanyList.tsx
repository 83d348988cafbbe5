import { Button, Flex, type TableColumnsType, Tag, Typography } from 'antd';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';
import { DataTable } from '../../components/DataTable';
import { EmptyState } from '../../components/EmptyState';
import { TimeAgo } from '../../components/TimeAgo';
import { PageHeader } from '../../components/PageHeader';
import { useSession } from '../../api/session';
import { listCompanies, type Company } from './company';

const idOf = (company: Company) => company.taxpayer_id;

// CompanyList lists the companies that the signed-in may see.
export default function CompanyList() {
  const { t } = useTranslation('companies');
  const navigate = useNavigate();
  const { may } = useSession();
  const create = may('admin') && (
    <Button type="primary" onClick={() => void navigate('/companies/-/new')}>
      {t('new')}
    </Button>
  );
  const columns = useMemo<TableColumnsType<Company>>(
    () => [
      {
        title: t('company_name'),
        render: (_, c) => (
          <Flex gap={6} wrap style={{ maxWidth: 320 }}>
            <Link to={`/companies/${encodeURIComponent(c.taxpayer_id)}`} style={{ overflowWrap: 'anywhere' }}>
              {c.company_name || c.taxpayer_id}
            </Link>
            {c.damaged && <Tag color="red">{t('damaged')}</Tag>}
          </Flex>
        ),
      },
      { title: t('taxpayer_id'), dataIndex: 'taxpayer_id' },
      { title: t('accounts'), render: (_, c) => <AccountTags accounts={c.accounts} /> },
      { title: t('updated'), render: (_, c) => <TimeAgo at={c.updated_at} /> },
    ],
    [t],
  );
  return (
    <>
      <PageHeader namespace="companies">{create}</PageHeader>
      <DataTable<Company>
        queryKey={['companies']}
        rowKey={idOf}
        label={t('title')}
        search={t('search')}
        load={async ({ page, pageSize, keyword, signal }) => (await listCompanies(page, pageSize, keyword ?? '', signal)).data}
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

// AccountTags are the accounts of a company, each a link to its secret.
export function AccountTags({ accounts }: { accounts: Record<string, string> }) {
  const { t } = useTranslation('companies');
  const list = Object.entries(accounts);
  if (list.length === 0) return <Typography.Text type="secondary">{t('noAccounts')}</Typography.Text>;
  return (
    <Flex gap={4} wrap>
      {list.map(([realm, key]) => (
        <Tag key={realm} style={{ whiteSpace: 'normal' }}>
          <Link to={`/secrets/${encodeURIComponent(realm)}/${encodeURIComponent(key)}`}>
            {realm} / {key}
          </Link>
        </Tag>
      ))}
    </Flex>
  );
}
