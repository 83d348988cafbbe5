import { Button, Modal } from 'antd';
import { useTranslation } from 'react-i18next';
import type { Session } from '../api/session';

interface Props {
  // Who is signed in now.
  session: Session;
  stay: () => void;
  change: () => void;
}

// WhichSession asks whether a one-time link that was opened may end the session
// that goes on. Whose the link is, nobody knows before it is used.
export function WhichSession({ session, stay, change }: Props) {
  const { t } = useTranslation(['session', 'common']);
  const who = session.id || t(`common:kind.${session.kind}`);
  return (
    <Modal
      open
      title={t('link.title')}
      onCancel={stay}
      footer={[
        <Button key="change" danger onClick={change}>
          {t('link.change')}
        </Button>,
        <Button key="stay" type="primary" autoFocus onClick={stay}>
          {t('link.stay', { who })}
        </Button>,
      ]}
    >
      <p>{t('link.text', { who })}</p>
      <p>{t('link.warning')}</p>
    </Modal>
  );
}
