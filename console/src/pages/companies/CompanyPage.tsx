import { useQuery, useQueryClient } from '@tanstack/react-query';
import { App, Button, Card, Descriptions, Skeleton } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { When } from '../../components/When';
import { useMayForAll } from '../../api/session';
import { AccountTags } from './CompanyList';
import { deleteCompany, getCompany, texts } from './company';

// CompanyPage shows one company, and deletes it.
export default function CompanyPage() {
  const { id = '' } = useParams();
  const { t } = useTranslation('companies');
  const navigate = useNavigate();
  const cache = useQueryClient();
  const { message, modal } = App.useApp();
  const { data: company, error } = useQuery({ queryKey: ['company', id], queryFn: ({ signal }) => getCompany(id, signal) });
  const mayChange = useMayForAll('admin', company ? Object.keys(company.accounts) : undefined);
  const remove = () =>
    modal.confirm({
      title: t('delete.title', { name: company?.company_name || id }),
      content: t('delete.text'),
      okText: t('delete.do'),
      cancelText: t('cancel'),
      okButtonProps: { danger: true },
      onOk: async () => {
        try {
          await deleteCompany(id);
        } catch (e) {
          void message.error((e as Error).message);
          return;
        }
        cache.removeQueries({ queryKey: ['company', id] });
        await cache.invalidateQueries({ queryKey: ['companies'] });
        void message.success(t('delete.done', { name: company?.company_name || id }));
        void navigate('/companies');
      },
    });
  return (
    <>
      <Link to="/companies">← {t('back')}</Link>
      <PageHeader namespace="companies" title={company?.company_name || id}>
        {mayChange && <Button onClick={() => void navigate(`/companies/${encodeURIComponent(id)}/change`)}>{t('change')}</Button>}
        {mayChange && (
          <Button danger onClick={remove}>
            {t('delete.do')}
          </Button>
        )}
      </PageHeader>
      <ApiErrorAlert error={error} />
      {!company && !error && <Skeleton active />}
      {company && (
        <Card size="small">
          <Descriptions
            size="small"
            column={{ xs: 1, md: 2 }}
            items={[
              { key: 'taxpayer_id', label: t('taxpayer_id'), children: company.taxpayer_id },
              ...texts.map((name) => ({ key: name, label: t(name), children: company[name] || '–' })),
              {
                key: 'accounts',
                span: 'filled' as const,
                label: t('accounts'),
                children: <AccountTags accounts={company.accounts} />,
              },
              { key: 'created', label: t('created'), children: <When time={company.created_at} /> },
              { key: 'updated', label: t('updated'), children: <When time={company.updated_at} /> },
            ]}
          />
        </Card>
      )}
    </>
  );
}
