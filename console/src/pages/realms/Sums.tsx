import { Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useRealmSums } from './api';

/** How many secrets a realm has, and whether any of them needs somebody. */
export function Sums({ id }: { id: string }) {
  const { t } = useTranslation('realms');
  const { secrets, attention } = useRealmSums(id);
  return (
    <span className="sums">
      {secrets !== undefined && (
        <Link to={`/secrets?realm=${encodeURIComponent(id)}`} aria-label={t('secrets_of', { count: secrets, id })}>
          {secrets}
        </Link>
      )}
      {attention ? <Tag color="warning">{t('attention', { count: attention })}</Tag> : null}
    </span>
  );
}
