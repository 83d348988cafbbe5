import './overview.css';
import { useTranslation } from 'react-i18next';
import { useSession } from '../../api/session';
import { EmptyState } from '../../components/EmptyState';
import { PageHeader } from '../../components/PageHeader';
import { Attention } from './Attention';
import { useLive } from './data';
import { History } from './History';

function Live() {
  useLive();
  return (
    <div className="overview">
      <Attention />
      <History />
    </div>
  );
}

// The overview answers one question first: what needs a person?
export default function Overview() {
  const { t } = useTranslation('overview');
  const { may } = useSession();
  const mayInspect = may('admin') || may('admin_read');
  return (
    <>
      <PageHeader namespace="overview" />
      {mayInspect ? <Live /> : <EmptyState title={t('hidden.title')} text={t('hidden.text')} />}
    </>
  );
}
