import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';
import { secretPath } from '../realms/words';
import { InRealm } from './InRealm';
import { SecretForm } from './SecretForm';

/** A new secret of a realm that there is. */
export default function NewSecret() {
  const { t } = useTranslation('secrets');
  const navigate = useNavigate();
  return (
    <InRealm title={t('new')}>
      {(realm, fields) => (
        <SecretForm key={realm} realm={realm} of={fields} onSaved={(key) => void navigate(secretPath(realm, key))} />
      )}
    </InRealm>
  );
}
