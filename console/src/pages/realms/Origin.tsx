import { Tag, Tooltip } from 'antd';
import { useTranslation } from 'react-i18next';

/** Where a realm or a secret is defined, and what follows from it. */
export function Origin({ isReadOnly }: { isReadOnly: boolean }) {
  const { t } = useTranslation('realms');
  return (
    <Tooltip title={isReadOnly ? t('origin.caddyfile_what') : t('origin.database_what')}>
      <Tag>{isReadOnly ? t('origin.caddyfile') : t('origin.database')}</Tag>
    </Tooltip>
  );
}
