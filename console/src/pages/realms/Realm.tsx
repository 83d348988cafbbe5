import { Alert, Button, Descriptions, Skeleton, Tabs } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { useHere } from '../../api/session';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { CopyButton } from '../../components/CopyButton';
import { PageHeader } from '../../components/PageHeader';
import { TimeAgo } from '../../components/TimeAgo';
import { type Realm, usePreset, useRealm, useRealmCounts } from './api';
import { DeleteRealm } from './DeleteRealm';
import { parentsOf, type Preset, withPreset } from './draft';
import { DryRun } from './DryRun';
import { Origin } from './Origin';
import './realms.css';
import { Counts } from './Counts';
import { wayOf } from './way';
import { type Language, realmPath } from './words';

/** One realm. */
export default function RealmPage() {
  const { t } = useTranslation('realms');
  const { id = '' } = useParams();
  const navigate = useNavigate();
  const realm = useRealm(id);
  const preset = usePreset(realm.data?.config?.preset);
  const may = useHere(id);
  const data = realm.data;
  const mayChange = may('admin') && data?.read_only !== true;
  return (
    <>
      <PageHeader namespace="realms" title={id}>
        <Button href="#/realms">{t('to_list')}</Button>
        <Button href={`#/secrets?realm=${encodeURIComponent(id)}`}>{t('to_secrets')}</Button>
        {mayChange && !data?.damaged && <Button href={`#${realmPath(id)}/edit`}>{t('common:edit')}</Button>}
        {data && mayChange && <DeleteRealm id={id} onDone={() => void navigate('/realms')} />}
      </PageHeader>
      <ApiErrorAlert error={realm.error} />
      {realm.isPending && <Skeleton active />}
      {data && (
        <>
          {data.read_only && <Alert className="api-error" type="info" showIcon title={t('origin.caddyfile_what')} />}
          {data.damaged && <Alert className="api-error" type="error" showIcon title={t('damaged_what')} />}
          <Facts realm={data} preset={preset.data} />
          <Tabs
            className="panel"
            items={[
              ...(may('admin')
                ? [
                    {
                      key: 'test',
                      label: t('test.title'),
                      children: (
                        <DryRun
                          realm={id}
                          preset={data.config?.preset}
                          isFixed={wayOf(withPreset(data.config ?? {}, preset.data)) === 'fixed'}
                          mayCall={may('use')}
                        />
                      ),
                    },
                  ]
                : []),
              { key: 'config', label: t('config'), children: <ConfigView realm={data} /> },
            ]}
          />
        </>
      )}
    </>
  );
}

function Facts({ realm, preset }: { realm: Realm; preset: Preset | undefined }) {
  const { t, i18n } = useTranslation('realms');
  const config = withPreset(realm.config ?? {}, preset);
  const parents = parentsOf(config);
  const counts = useRealmCounts(realm.id);
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : '-');
  return (
    <Descriptions
      bordered
      size="small"
      className="facts"
      column={{ xs: 1, md: 2 }}
      items={[
        { key: 'origin', label: t('origin.label'), children: <Origin isReadOnly={realm.read_only === true} /> },
        {
          key: 'provider',
          label: t('provider'),
          children: preset ? `${preset.title[i18n.language as Language]} (${preset.name})` : t('own_config'),
        },
        { key: 'api', label: t('api'), children: <code>{text(config.api)}</code> },
        { key: 'way', label: t('way.label'), children: t(`way.${wayOf(config)}`) },
        { key: 'secrets', label: t('secrets'), children: <Counts id={realm.id} {...counts} /> },
        ...(parents.length > 0
          ? [
              {
                key: 'parents',
                label: t('parents'),
                children: parents.map((parent) => (
                  <Link key={parent} to={realmPath(parent)}>
                    {parent}{' '}
                  </Link>
                )),
              },
            ]
          : []),
        ...(realm.comment ? [{ key: 'comment', label: t('form.comment'), children: realm.comment }] : []),
        ...(realm.updated_at
          ? [{ key: 'updated', label: t('updated'), children: <TimeAgo at={realm.updated_at} /> }]
          : []),
        ...(config.inject_only ? [{ key: 'inject_only', label: 'inject_only', children: t('form.inject_only') }] : []),
      ]}
    />
  );
}

function ConfigView({ realm }: { realm: Realm }) {
  const text = JSON.stringify(realm.config ?? {}, null, 2);
  return (
    <div className="code-block">
      <div className="code-head">
        <code>config</code>
        <CopyButton text={text} />
      </div>
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}
