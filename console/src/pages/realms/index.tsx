import { AppstoreAddOutlined } from '@ant-design/icons';
import { Button, type TableColumnsType, Tag } from 'antd';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useSession } from '../../api/session';
import { DataTable } from '../../components/DataTable';
import { EmptyState } from '../../components/EmptyState';
import { PageHeader } from '../../components/PageHeader';
import { listRealms, type Realm, usePresets } from './api';
import { Origin } from './Origin';
import { Counts } from './Counts';
import './realms.css';
import { realmPath, type Language } from './words';

const idOf = (realm: Realm) => realm.id;

/** The list of realms. */
export default function RealmsPage() {
  const { t, i18n } = useTranslation('realms');
  const { may } = useSession();
  const presets = usePresets();
  const columns = useMemo<TableColumnsType<Realm>>(() => {
    const titles = new Map(presets.data?.map((p) => [p.name, p.title[i18n.language as Language]]));
    return [
      {
        title: t('id'),
        render: (_, realm) => (
          <>
            <Link to={realmPath(realm.id)}>{realm.id}</Link>
            {realm.comment && <div className="comment">{realm.comment}</div>}
          </>
        ),
      },
      // Beside the name: a phone shows no more columns at once.
      { title: t('secrets'), render: (_, realm) => <Counts id={realm.id} secrets={realm.counts?.secrets} attention={realm.counts?.attention} /> },
      { title: t('provider'), render: (_, realm) => providerOf(realm, titles) },
      {
        title: t('origin.label'),
        render: (_, realm) => (
          <>
            <Origin isReadOnly={realm.read_only === true} />
            {realm.damaged && <Tag color="error">{t('damaged')}</Tag>}
          </>
        ),
      },
    ];
  }, [t, i18n.language, presets.data]);
  const add = may('admin') && (
    <Button type="primary" href="#/realms/new/catalogue" icon={<AppstoreAddOutlined aria-hidden />}>
      {t('new')}
    </Button>
  );
  return (
    <>
      <PageHeader namespace="realms">{add}</PageHeader>
      <DataTable<Realm>
        queryKey={['realms']}
        load={listRealms}
        rowKey={idOf}
        label={t('title')}
        search={t('search')}
        empty={
          <EmptyState title={t('empty.title')} text={t('empty.text')}>
            {add}
          </EmptyState>
        }
        columns={columns}
      />
    </>
  );
}

function providerOf(realm: Realm, titles: Map<string, string>): string {
  const preset = realm.config?.preset;
  if (typeof preset === 'string') return titles.get(preset) ?? preset;
  const api = realm.config?.api;
  return typeof api === 'string' ? api.replace(/^https?:\/\//, '') : '-';
}
