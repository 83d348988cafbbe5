import { Alert, Button, Descriptions, Skeleton, Table, Tabs, Tag } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { type Right, useHere } from '../../api/session';
import { useWatch } from '../../api/watch';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { Confirm } from '../../components/Confirm';
import { PageHeader } from '../../components/PageHeader';
import { whyFailed, whyNoted } from '../../components/failure';
import { StateTag } from '../../components/StateTag';
import { TimeAgo } from '../../components/TimeAgo';
import { WhyText } from '../../components/WhyText';
import { needsPerson } from '../realms/draft';
import { wayOf } from '../realms/way';
import { DryRun } from '../realms/DryRun';
import { Origin } from '../realms/Origin';
import { Sentence } from '../realms/Sentence';
import { durationOf, type Language, realmPath, secretPath } from '../realms/words';
import {
  deleteSecret,
  flush,
  type Flushed,
  forgetSecret,
  type Secret,
  type TokenStatus,
  useSecret,
  useStatus,
} from './api';
import { Authorize } from './Authorize';
import { type RealmFields, setFields, useFields, withOwn } from './fields';
import { History } from './History';
import { PushForm } from './PushForm';
import { SecretForm } from './SecretForm';
import '../realms/realms.css';
import './secrets.css';

/** One secret: its state, its fields, and what may be done with it. */
export default function SecretPage() {
  const { t, i18n } = useTranslation('secrets');
  const { realm = '', key = '' } = useParams();
  const secret = useSecret(realm, key);
  const status = useStatus(realm, key);
  const fields = useFields(realm);
  const may = useHere(realm, key);
  const [tab, setTab] = useState<string | null>(null);
  const [flushed, setFlushed] = useState<Flushed | null>(null);
  useWatch(
    (change) => {
      if (change.realm === realm && change.key === key) forgetSecret(realm, key);
    },
    () => forgetSecret(realm, key),
  );
  const data = secret.data;
  const tabs = data && fields ? tabsOf({ secret: data, fields, status: status.data ?? null, may }, t, setTab) : [];
  const authorizeAgain = status.data?.state === 'reauth_required' && tabs.some((one) => one.key === 'authorize');
  return (
    <>
      <PageHeader namespace="secrets" title={`${realm} / ${key}`}>
        <Button href={`#/secrets?realm=${encodeURIComponent(realm)}`}>{t('to_list')}</Button>
        {data && <Actions secret={data} fields={fields} may={may} onFlushed={setFlushed} />}
      </PageHeader>
      {flushed && (
        <Alert
          className="api-error"
          type="success"
          showIcon
          role="status"
          closable={{ onClose: () => setFlushed(null) }}
          title={
            flushed.expires_in === null
              ? t('flush.done_no_end', { lineage: flushed.lineage })
              : t('flush.done', { lineage: flushed.lineage, life: durationOf(flushed.expires_in, i18n.language) })
          }
        />
      )}
      <ApiErrorAlert error={secret.error} />
      {secret.isPending && <Skeleton active />}
      {data?.read_only && <Alert className="api-error" type="info" showIcon title={t('read_only')} />}
      {data?.damaged && <Alert className="api-error" type="error" showIcon title={t('damaged_what')} />}
      {data && <StatusView secret={data} status={status.data ?? null} />}
      <ApiErrorAlert error={status.error} />
      {tabs.length > 0 && (
        <Tabs
          className="panel"
          activeKey={tab ?? (authorizeAgain ? 'authorize' : 'fields')}
          onChange={setTab}
          items={tabs}
        />
      )}
    </>
  );
}

interface Shown {
  secret: Secret;
  fields: RealmFields;
  status: TokenStatus | null;
  may: (right: Right) => boolean;
}

/** The tabs of what the signed-in may see and do. */
function tabsOf({ secret, fields, status, may }: Shown, t: (key: string) => string, open: (tab: string) => void) {
  const { realm, key } = secret;
  const tabs = [{ key: 'fields', label: t('fields'), children: <FieldsView secret={secret} of={fields} /> }];
  const add = (name: string, label: string, children: React.JSX.Element) => tabs.push({ key: name, label, children });
  if (status?.history) add('history', t('history.title'), <History history={status.history} />);
  if (may('admin') && !secret.read_only && !secret.damaged) {
    const form = <SecretForm realm={realm} of={fields} secret={secret} onSaved={() => open('fields')} />;
    add('change', t('change'), form);
  }
  if (may('admin')) {
    add(
      'test',
      t('test'),
      <DryRun
        realm={realm}
        secret={key}
        preset={fields.config.preset}
        isFixed={wayOf(fields.config) === 'fixed'}
        mayCall={may('use')}
      />,
    );
  }
  if (may('authorize') && needsPerson(fields.config)) {
    add('authorize', t('authorize.title'), <Authorize realm={realm} secret={key} />);
  }
  if (may('push') && fields.volatile.length > 0 && !secret.read_only) {
    add('push', t('push.title'), <PushForm realm={realm} secret={key} volatile={fields.volatile} />);
  }
  return tabs;
}

interface ActionsProps {
  secret: Secret;
  fields: RealmFields | undefined;
  may: Shown['may'];
  onFlushed: (flushed: Flushed) => void;
}

function Actions({ secret, fields, may, onFlushed }: ActionsProps) {
  const { t } = useTranslation('secrets');
  const navigate = useNavigate();
  const { realm, key } = secret;
  const isFixed = fields !== undefined && wayOf(fields.config) === 'fixed';
  return (
    <>
      {may('flush') && fields && !isFixed && !secret.damaged && (
        <Confirm
          title={t('flush.title')}
          text={<p>{t('flush.what')}</p>}
          verb={t('flush.verb')}
          action={async () => onFlushed(await flush(realm, key))}
        >
          {t('flush.verb')}
        </Confirm>
      )}
      {may('admin') && !secret.read_only && (
        <Confirm
          danger
          title={t('delete.title', { realm, key })}
          text={<p>{t('delete.what')}</p>}
          action={() => deleteSecret(realm, key)}
          onDone={() => void navigate(`/secrets?realm=${encodeURIComponent(realm)}`)}
        >
          {t('common:delete')}
        </Confirm>
      )}
    </>
  );
}

function StatusView({ secret, status }: { secret: Secret; status: TokenStatus | null }) {
  const { t, i18n } = useTranslation(['secrets', 'failure']);
  const why = whyFailed(status?.state === 'reauth_required' ? { failure: 'reauth_required' } : (status ?? {}), (name) => i18n.exists(name));
  const items = [
    { key: 'state', label: t('state'), children: <StateTag state={status?.state} /> },
    { key: 'realm', label: t('realm'), children: <Link to={realmPath(secret.realm)}>{secret.realm}</Link> },
  ];
  const add = (key: string, children: React.JSX.Element) => items.push({ key, label: t(key), children });
  if (status) {
    add('expires', status.expires_at ? <TimeAgo at={status.expires_at} /> : <>-</>);
    add('next', <TimeAgo at={status.next_refresh} over={t('common:next_call')} />);
    add('last_fetch', <TimeAgo at={status.last_fetch} />);
    add('lineage', <>{status.lineage ?? 0}</>);
    add('fetches', <>{status.fetches}</>);
    if (status.budget_left !== undefined) add('budget', <>{t('budget_left', { count: status.budget_left })}</>);
    if (status.parents) add('parents', <Parents parents={status.parents} />);
  }
  add('origin', <Origin isReadOnly={secret.read_only === true} />);
  if (secret.inject_only) add('inject_only', <>{t('inject_only_what')}</>);
  return (
    <>
      {status?.last_error && (
        <Alert
          className="api-error"
          type={status.state === 'live' ? 'warning' : 'error'}
          showIcon
          title={
            <>
              {t(`failure:${why}.reason`)} <TimeAgo at={status.last_error_at} />
            </>
          }
          description={<WhyText why={why} code={status.code} address={status.address} said={status.last_error} />}
        />
      )}
      {status?.note && (
        <Alert
          className="api-error"
          type="warning"
          showIcon
          title={t(`failure:${whyNoted(status.note)}.reason`)}
          description={<WhyText why={whyNoted(status.note)} said={status.note} />}
        />
      )}
      {!status && <p className="lead">{t('no_status')}</p>}
      <Descriptions bordered size="small" className="facts" column={{ xs: 1, md: 2 }} items={items} />
    </>
  );
}

function Parents({ parents }: { parents: NonNullable<TokenStatus['parents']> }) {
  return parents.map((parent) => (
    <span key={`${parent.realm}/${parent.key ?? ''}`}>
      {parent.key === undefined ? (
        <Link to={realmPath(parent.realm)}>{parent.realm}</Link>
      ) : (
        <Link to={secretPath(parent.realm, parent.key)}>{`${parent.realm} / ${parent.key}`}</Link>
      )}{' '}
    </span>
  ));
}

/** Which fields are set. Their values are never shown. */
function FieldsView({ secret, of }: { secret: Secret; of: RealmFields }) {
  const { t, i18n } = useTranslation('secrets');
  const set = setFields(secret);
  const fields = withOwn(of.fields, set);
  return (
    <Table
      size="small"
      pagination={false}
      rowKey="name"
      dataSource={fields}
      scroll={{ x: 'max-content' }}
      locale={{ emptyText: t('no_fields') }}
      columns={[
        { title: t('field.name'), render: (_, f) => <code>{f.name}</code> },
        {
          title: t('field.value'),
          render: (_, f) => {
            const pushed = secret.pushed?.[f.name];
            return (
              <>
                <FieldState isSet={set.includes(f.name) || pushed !== undefined} field={f} />
                {pushed && (
                  <div className="comment">
                    {t('field.pushed_at')} <TimeAgo at={pushed.updated_at} />
                    {pushed.expires_at && (
                      <>
                        , {t('field.until')} <TimeAgo at={pushed.expires_at} />
                      </>
                    )}
                  </div>
                )}
              </>
            );
          },
        },
        ...(fields.some((f) => f.help.en !== '')
          ? [
              {
                title: t('field.help'),
                className: 'help-column',
                render: (_: unknown, f: RealmFields['fields'][number]) => (
                  <Sentence text={f.help[i18n.language as Language]} />
                ),
              },
            ]
          : []),
      ]}
      footer={of.given.length > 0 ? () => t('form.given', { names: of.given.join(', ') }) : undefined}
    />
  );
}

function FieldState({ isSet, field }: { isSet: boolean; field: RealmFields['fields'][number] }) {
  const { t } = useTranslation('secrets');
  if (isSet) return <span aria-label={t('field.set')}>••••••••</span>;
  if (field.default !== undefined) return <>{t('field.default', { value: field.default })}</>;
  return field.required ? <Tag color="warning">{t('field.missing')}</Tag> : <Tag>{t('field.not_set')}</Tag>;
}
