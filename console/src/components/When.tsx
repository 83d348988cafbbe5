import { useTranslation } from 'react-i18next';

// When shows a time in the language and the zone of the reader; the exact one is
// its title.
export function When({ time, none = '–' }: { time: string | null | undefined; none?: string }) {
  const { i18n } = useTranslation();
  if (!time) return <>{none}</>;
  return (
    <time dateTime={time} title={time}>
      {timeText(time, i18n.language)}
    </time>
  );
}

export function timeText(time: string, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time));
}
