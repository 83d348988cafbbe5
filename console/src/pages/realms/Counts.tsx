import { Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

interface Props {
  id: string;
  secrets: number | undefined;
  attention: number | undefined;
}

/** How many secrets a realm has, and whether any of them needs somebody. */
export function Counts({ id, secrets, attention }: Props) {
  const { t } = useTranslation('realms');
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
