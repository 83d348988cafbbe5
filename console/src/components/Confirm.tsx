import { useMutation } from '@tanstack/react-query';
import { Button, type ButtonProps, Modal } from 'antd';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from './ApiErrorAlert';

interface Props extends Omit<ButtonProps, 'onClick' | 'title'> {
  title: string;
  // What follows from it.
  text?: ReactNode;
  // The verb on the button of the dialog; that of the button that opens it
  // where absent.
  verb?: string;
  action: () => Promise<unknown>;
  onDone?: () => void;
}

// Confirm is a button whose action has to be confirmed in a dialog. The dialog
// stays open, with the error, when the action fails.
export function Confirm({ title, text, verb, action, onDone, children, ...button }: Props) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const run = useMutation({
    mutationFn: action,
    onSuccess: () => {
      setOpen(false);
      onDone?.();
    },
  });
  const show = () => {
    run.reset();
    setOpen(true);
  };
  return (
    <>
      <Button {...button} onClick={show}>
        {children}
      </Button>
      <Modal
        open={open}
        title={title}
        okText={verb ?? children}
        cancelText={t('cancel')}
        okButtonProps={{ danger: button.danger ?? false }}
        confirmLoading={run.isPending}
        onOk={() => run.mutate()}
        onCancel={() => setOpen(false)}
        destroyOnHidden
      >
        {text}
        <ApiErrorAlert error={run.error} />
      </Modal>
    </>
  );
}
