import { useMutation } from '@tanstack/react-query';
import { Button, Checkbox, Modal, Skeleton } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { deleteRealm, useRealmCounts } from './api';

/** The button that deletes a realm, and the question about its secrets. */
export function DeleteRealm({ id, onDone }: { id: string; onDone: () => void }) {
  const { t } = useTranslation('realms');
  const [isOpen, setOpen] = useState(false);
  const [isAgreed, setAgreed] = useState(false);
  const { secrets } = useRealmCounts(id);
  const hasSecrets = secrets !== undefined && secrets > 0;
  const run = useMutation({ mutationFn: () => deleteRealm(id, hasSecrets), onSuccess: onDone });
  const open = () => {
    run.reset();
    setAgreed(false);
    setOpen(true);
  };
  return (
    <>
      <Button danger onClick={open}>
        {t('common:delete')}
      </Button>
      <Modal
        open={isOpen}
        title={t('delete.title', { id })}
        okText={t('delete.verb')}
        cancelText={t('common:cancel')}
        okButtonProps={{ danger: true, disabled: secrets === undefined || (hasSecrets && !isAgreed) }}
        confirmLoading={run.isPending}
        onOk={() => run.mutate()}
        onCancel={() => setOpen(false)}
        destroyOnHidden
      >
        {secrets === undefined && <Skeleton active paragraph={{ rows: 1 }} />}
        {secrets === 0 && <p>{t('delete.alone')}</p>}
        {hasSecrets && (
          <>
            <p>{t('delete.with_secrets', { count: secrets })}</p>
            <Checkbox checked={isAgreed} onChange={(event) => setAgreed(event.target.checked)}>
              {t('delete.agree', { count: secrets })}
            </Checkbox>
          </>
        )}
        <ApiErrorAlert error={run.error} />
      </Modal>
    </>
  );
}
