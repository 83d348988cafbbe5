import { Button, Skeleton } from 'antd';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { usePreset } from './api';
import { Catalogue } from './Catalogue';
import { RealmForm } from './RealmForm';
import './realms.css';
import type { Language } from './words';

/** A new realm: from the catalogue first, then a form for the preset that was chosen. */
export default function NewRealm() {
  const { t, i18n } = useTranslation('realms');
  const [params, setParams] = useSearchParams();
  const name = params.get('preset');
  const isOwn = params.has('own');
  const preset = usePreset(name);
  const choose = (chosen: string | null) => setParams(chosen === null ? { own: '1' } : { preset: chosen });
  const isChosen = name !== null || isOwn;
  const title = preset.data ? t('form.title', { provider: preset.data.title[i18n.language as Language] }) : t('new');
  return (
    <>
      <PageHeader namespace="realms" title={title}>
        {isChosen && <Button onClick={() => setParams({})}>{t('form.other')}</Button>}
        <Button href="#/realms">{t('to_list')}</Button>
      </PageHeader>
      {!isChosen && <Catalogue choose={choose} />}
      {isOwn && <RealmForm key="own" preset={null} />}
      {name !== null && preset.isPending && <Skeleton active />}
      <ApiErrorAlert error={name === null ? null : preset.error} />
      {name !== null && preset.data && <RealmForm key={name} preset={preset.data} />}
    </>
  );
}
