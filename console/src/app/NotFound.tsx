import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { EmptyState } from '../components/EmptyState';

export function NotFound() {
  const { t } = useTranslation();
  return (
    <EmptyState level={1} title={t('not_found.title')} text={t('not_found.text')}>
      <Link to="/">{t('not_found.home')}</Link>
    </EmptyState>
  );
}
