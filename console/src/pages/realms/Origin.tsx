import { Tag } from 'antd';
import { useTranslation } from 'react-i18next';

/** Where a realm or a secret is defined, and what follows from it: in a title, of which a list can have many. */
export function Origin({ isReadOnly }: { isReadOnly: boolean }) {
  const { t } = useTranslation('realms');
  const [name, what] = isReadOnly
    ? [t('origin.caddyfile'), t('origin.caddyfile_what')]
    : [t('origin.database'), t('origin.database_what')];
  return <Tag title={what}>{name}</Tag>;
}
