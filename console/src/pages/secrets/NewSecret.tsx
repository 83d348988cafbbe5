import { Alert, Button, Form, Skeleton } from 'antd';
import { useTranslation } from 'react-i18next';
import { useNavigate, useSearchParams } from 'react-router';
import { useHere } from '../../api/session';
import { PageHeader } from '../../components/PageHeader';
import { RealmPicker } from '../realms/RealmPicker';
import { secretPath } from '../realms/words';
import { useFields } from './fields';
import { SecretForm } from './SecretForm';
import '../realms/realms.css';
import './secrets.css';

/** A new secret of a realm that there is. */
export default function NewSecret() {
  const { t } = useTranslation('secrets');
  const navigate = useNavigate();
  const [params, setParams] = useSearchParams();
  const realm = params.get('realm') ?? '';
  const fields = useFields(realm);
  const may = useHere(realm === '' ? undefined : realm);
  return (
    <>
      <PageHeader namespace="secrets" title={t('new')}>
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
      {realm !== '' && !fields && <Skeleton active />}
      {realm !== '' && fields && !may('admin') && <Alert type="info" showIcon title={t('no_right')} />}
      {fields && may('admin') && (
        <SecretForm key={realm} realm={realm} of={fields} onSaved={(key) => void navigate(secretPath(realm, key))} />
      )}
    </>
  );
}
