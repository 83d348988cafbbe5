import { ImportOutlined, KeyOutlined } from '@ant-design/icons';
import { Button, type TableColumnsType, Tag } from 'antd';
import { type ReactNode, useEffect, useMemo, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { queryClient } from '../../api/query';
import { useSession } from '../../api/session';
import { useWatch } from '../../api/watch';
import { DataTable } from '../../components/DataTable';
import { EmptyState } from '../../components/EmptyState';
import { PageHeader } from '../../components/PageHeader';
import { StateTag } from '../../components/StateTag';
import { TimeAgo } from '../../components/TimeAgo';
import { Origin } from '../realms/Origin';
import { RealmPicker } from '../realms/RealmPicker';
import { realmPath, secretPath } from '../realms/words';
import { listSecrets, type Secret } from './api';
import '../realms/realms.css';
import './secrets.css';

const nameOf = (secret: Secret) => `${secret.realm}/${secret.key}`;

/** The list of secrets, with the state of each token. */
export default function SecretsPage() {
  const { t } = useTranslation('secrets');
  const { may } = useSession();
  const [params, setParams] = useSearchParams();
  const realm = params.get('realm') ?? '';
  const forRealm = realm === '' ? '' : `?realm=${encodeURIComponent(realm)}`;
  const reload = useCalm(() => void queryClient.invalidateQueries({ queryKey: ['secrets'] }), 2_000);
  useWatch(reload, reload);
  const columns = useMemo<TableColumnsType<Secret>>(
    () => [
      {
        title: t('key'),
        render: (_, s) => (
          <>
            <Link to={secretPath(s.realm, s.key)}>{s.key}</Link>
            {s.damaged && <Tag color="error">{t('damaged')}</Tag>}
          </>
        ),
      },
      { title: t('realm'), render: (_, s) => <Link to={realmPath(s.realm)}>{s.realm}</Link> },
      { title: t('state'), render: (_, s) => <StateTag state={s.status?.state} /> },
      { title: t('expires'), render: (_, s) => <TimeAgo at={s.status?.expires_at} /> },
      { title: t('next'), render: (_, s) => <TimeAgo at={s.status?.next_refresh} over={t('common:next_call')} /> },
      { title: t('origin'), render: (_, s) => <Origin isReadOnly={s.read_only === true} /> },
    ],
    [t],
  );
  const choose = (next: string) =>
    setParams((before) => {
      const after = new URLSearchParams(before);
      after.delete('page');
      if (next === '') after.delete('realm');
      else after.set('realm', next);
      return after;
    });
  const add = may('admin') && (
    <>
      <Button href={`#/secrets/import${forRealm}`} icon={<ImportOutlined aria-hidden />}>
        {t('add_many')}
      </Button>
      <Button type="primary" href={`#/secrets/new${forRealm}`} icon={<KeyOutlined aria-hidden />}>
        {t('new')}
      </Button>
    </>
  );
  return (
    <>
      <PageHeader namespace="secrets">{add}</PageHeader>
      <DataTable<Secret>
        queryKey={['secrets', realm]}
        load={(page) => listSecrets({ ...page, realm })}
        rowKey={nameOf}
        label={t('title')}
        search={t('search')}
        bar={<RealmPicker label={t('filter_realm')} value={realm} onChange={choose} allowClear />}
        {...(realm === '' ? { empty: <Empty>{add}</Empty> } : {})}
        columns={columns}
      />
    </>
  );
}

/** Returns a call that comes some milliseconds later, once for all that ask meanwhile: many tokens may change at once. */
function useCalm(call: () => void, ms: number): () => void {
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(
    () => () => {
      if (timer.current) clearTimeout(timer.current);
    },
    [],
  );
  return () => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      call();
    }, ms);
  };
}

function Empty({ children }: { children: ReactNode }) {
  const { t } = useTranslation('secrets');
  return (
    <EmptyState title={t('empty.title')} text={t('empty.text')}>
      <div className="actions centred">{children}</div>
    </EmptyState>
  );
}
