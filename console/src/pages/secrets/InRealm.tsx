import { Alert, Button, Form, Skeleton } from 'antd';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { useHere } from '../../api/session';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { EmptyState } from '../../components/EmptyState';
import { PageHeader } from '../../components/PageHeader';
import { useRealm } from '../realms/api';
import { RealmPicker } from '../realms/RealmPicker';
import { type RealmFields, useFields } from './fields';
import '../realms/realms.css';
import './secrets.css';

interface Props {
  title: string;
  /** What is done in the realm, once its fields are known. */
  children: (realm: string, fields: RealmFields) => ReactNode;
}

/** The frame of pages that add secrets: the realm is chosen first, and is a part of the address. */
export function InRealm({ title, children }: Props) {
  const { t } = useTranslation('secrets');
  const [params, setParams] = useSearchParams();
  const realm = params.get('realm') ?? '';
  const fields = useFields(realm);
  const { error } = useRealm(realm);
  const may = useHere(realm === '' ? undefined : realm);
  return (
    <>
      <PageHeader namespace="secrets" title={title}>
        <Button href="#/secrets">{t('to_list')}</Button>
      </PageHeader>
      <Form layout="vertical" className="secret-form">
        <Form.Item label={t('realm')} htmlFor="realm" required>
          <RealmPicker
            id="realm"
            label={t('choose_realm')}
            value={realm}
            onChange={(id) => setParams({ realm: id }, { replace: true })}
          />
        </Form.Item>
      </Form>
      {realm === '' && (
        <EmptyState title={t('choose_first')} text={t('no_realm')}>
          <Button href="#/realms/new/catalogue">{t('new_realm')}</Button>
        </EmptyState>
      )}
      <ApiErrorAlert error={error} />
      {realm !== '' && !fields && !error && <Skeleton active />}
      {fields && !may('admin') && <Alert type="info" showIcon title={t('no_right')} />}
      {fields && may('admin') && children(realm, fields)}
    </>
  );
}
