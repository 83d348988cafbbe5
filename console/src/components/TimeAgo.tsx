import dayjs from 'dayjs';
import { useSyncExternalStore } from 'react';
import { useTranslation } from 'react-i18next';

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

// One timer for all times on the page.
function subscribe(changed: () => void) {
  listeners.add(changed);
  timer ??= setInterval(() => {
    now = Date.now();
    listeners.forEach((listener) => listener());
  }, 15_000);
  return () => {
    listeners.delete(changed);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

// TimeAgo is a time in words ("in 5 minutes"), with the exact one as its title.
// over is said in place of a time that has passed: "next try: 2 minutes ago" is no
// answer.
export function TimeAgo({ at, over }: { at: string | undefined; over?: string | undefined }) {
  return at ? <Ago at={at} over={over} /> : <span>-</span>;
}

function Ago({ at, over }: { at: string; over: string | undefined }) {
  const { i18n } = useTranslation();
  useSyncExternalStore(subscribe, () => now);
  const time = dayjs(at).locale(i18n.language === 'zh' ? 'zh-cn' : 'en');
  return (
    <time dateTime={at} title={time.format('YYYY-MM-DD HH:mm:ss Z')}>
      {over !== undefined && time.isBefore(dayjs()) ? over : time.fromNow()}
    </time>
  );
}
