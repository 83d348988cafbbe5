import { Modal } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';

// back stands for the step back, where else a link stands.
const back = 'back';

// useLeaveGuard asks before somebody leaves a page by a link, by "back", or by
// closing it. `asked` is true while the answer is awaited.
//
// The router of hash routes has no way to hold a navigation. So links are
// stopped before they act. For "back", the page is put into the history once
// more: the first step back stays on the page, and begins the question.
export function useLeaveGuard(when: boolean) {
  const [target, setTarget] = useState<string>();
  useEffect(() => {
    if (!when) return undefined;
    const again = () => window.history.pushState(window.history.state, '', window.location.href);
    again();
    const onUnload = (e: BeforeUnloadEvent) => e.preventDefault();
    const onClick = (e: MouseEvent) => {
      const href = e.target instanceof Element ? e.target.closest('a')?.getAttribute('href') : undefined;
      if (!href?.startsWith('#/') || e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
      e.preventDefault();
      e.stopPropagation();
      setTarget(href);
    };
    const onPop = () => {
      again();
      setTarget(back);
    };
    window.addEventListener('beforeunload', onUnload);
    document.addEventListener('click', onClick, true);
    window.addEventListener('popstate', onPop);
    return () => {
      window.removeEventListener('beforeunload', onUnload);
      document.removeEventListener('click', onClick, true);
      window.removeEventListener('popstate', onPop);
    };
  }, [when]);
  return { asked: target !== undefined, target, stay: () => setTarget(undefined) };
}

// go does what a guard held back. The guard must be gone by then.
export function go(target: string): void {
  if (target === back) window.history.go(-2);
  else window.location.hash = target;
}

// LeaveGuard asks before somebody leaves what is not saved. onLeave makes `when`
// false.
export function LeaveGuard({ when, onLeave }: { when: boolean; onLeave: () => void }) {
  const { t } = useTranslation();
  const guard = useLeaveGuard(when);
  const [leaving, setLeaving] = useState<string>();
  useEffect(() => {
    if (leaving !== undefined && !when) go(leaving);
  }, [leaving, when]);
  return (
    <Modal
      open={when && guard.asked}
      title={t('leave.title')}
      okText={t('leave.leave')}
      cancelText={t('leave.stay')}
      okButtonProps={{ danger: true }}
      onOk={() => {
        setLeaving(guard.target);
        onLeave();
      }}
      onCancel={guard.stay}
    >
      {t('leave.text')}
    </Modal>
  );
}
