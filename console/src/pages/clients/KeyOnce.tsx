import { Alert, Button, Flex, Input, Modal, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { CopyButton } from '../../components/CopyButton';
import { go, useLeaveGuard } from '../../components/LeaveGuard';

interface Props {
  id: string;
  value: string;
  note?: string | undefined;
  // onDone drops the key. It is called before the page is left.
  onDone: () => void;
}

// KeyOnce shows a new API key, which nobody can show again.
//
// The key is in the property alone: it is put neither into a cache nor into the
// address, and whoever shows this drops it in onDone, so that it is gone from
// the page and from its memory. The dialog has one way out. Whoever leaves the
// page in another way is asked first.
export function KeyOnce({ id, value, note, onDone }: Props) {
  const { t } = useTranslation('clients');
  const { asked, target, stay } = useLeaveGuard(true);
  const leave = () => {
    onDone();
    // Behind the end of the guard.
    setTimeout(() => go(target!));
  };
  const buttons = asked ? (
    <Flex gap="small" justify="end" wrap>
      <Button onClick={stay}>{t('common:leave.stay')}</Button>
      <Button danger onClick={leave}>
        {t('common:leave.leave')}
      </Button>
    </Flex>
  ) : (
    <Button type="primary" onClick={onDone}>
      {t('key.done')}
    </Button>
  );
  return (
    <Modal open title={t('key.title', { id })} closable={false} keyboard={false} mask={{ closable: false }} footer={buttons}>
      <Flex vertical gap="middle">
        {asked ? (
          <Alert type="error" showIcon title={t('key.leave')} description={t('key.leaveText')} />
        ) : (
          <Alert type="warning" showIcon title={t('key.once')} description={note} />
        )}
        <Flex gap="small" align="center" wrap>
          <Input
            readOnly
            value={value}
            aria-label={t('key.title', { id })}
            autoComplete="off"
            spellCheck={false}
            style={{ flex: '1 1 16rem', fontFamily: 'monospace' }}
            onFocus={(e) => e.target.select()}
          />
          <CopyButton text={value} label={t('key.copy')} />
        </Flex>
        <Typography.Text type="secondary">
          {t('key.use')} <Typography.Text code>Authorization: Bearer ctk_…</Typography.Text>
        </Typography.Text>
      </Flex>
    </Modal>
  );
}
