import { CheckCircleTwoTone } from '@ant-design/icons';
import { Button } from 'antd';
import { useTranslation } from 'react-i18next';
import { Warnings } from '../../components/Warnings';
import { Authorize } from '../secrets/Authorize';
import { type Config, needsPerson } from './draft';
import { DryRun } from './DryRun';
import { wayOf } from './way';
import { realmPath, secretPath } from './words';

interface Props {
  realm: string;
  secret: string | null;
  /** What the API warns of about the secret. */
  warnings: string[];
  config: Config;
  example?: { method: string; path: string } | undefined;
}

/** A realm that was just saved, and what to do next. */
export function Done({ realm, secret, warnings, config, example }: Props) {
  const { t } = useTranslation('realms');
  return (
    <>
      <p className="done" role="status">
        <CheckCircleTwoTone twoToneColor="#52c41a" aria-hidden />{' '}
        {secret === null ? t('done.realm', { realm }) : t('done.both', { realm, secret })}
      </p>
      <Warnings warnings={warnings} />
      <div className="actions">
        <Button href={`#${realmPath(realm)}`}>{t('done.to_realm')}</Button>
        {secret !== null && <Button href={`#${secretPath(realm, secret)}`}>{t('done.to_secret')}</Button>}
        <Button href="#/realms">{t('to_list')}</Button>
      </div>
      {secret !== null && needsPerson(config) && (
        <section className="panel">
          <h2>{t('done.authorize')}</h2>
          <p>{t('done.authorize_what')}</p>
          <Authorize realm={realm} secret={secret} />
        </section>
      )}
      {secret !== null && !needsPerson(config) && (
        <section className="panel">
          <h2>{t('done.try')}</h2>
          <DryRun
            realm={realm}
            secret={secret}
            preset={config.preset}
            example={example}
            isFixed={wayOf(config) === 'fixed'}
            mayCall
          />
        </section>
      )}
    </>
  );
}
