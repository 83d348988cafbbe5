import { useTranslation } from 'react-i18next';

// Said is what the server or a provider said in its own words, which are not
// those of the reader: folded away, behind a text in his language. open is
// for what only those words say.
export function Said({ lines, open }: { lines: (string | undefined)[]; open?: boolean }) {
  const { t, i18n } = useTranslation();
  const said = lines.filter((line) => line !== undefined && line !== '');
  if (said.length === 0) return null;
  return (
    <details className="said" open={open === true || i18n.language === 'en'}>
      <summary>{t('said')}</summary>
      {said.map((line) => (
        <div key={line} lang="en">
          {line}
        </div>
      ))}
    </details>
  );
}
