import { Alert } from 'antd';
import { useTranslation } from 'react-i18next';
import { Said } from './Said';
import { readWarning } from './warning';

/** What was saved and may be a slip. Nothing is shown where there is no warning. */
export function Warnings({ warnings }: { warnings: string[] }) {
  const { t } = useTranslation();
  if (warnings.length === 0) return null;
  return <Alert type="warning" showIcon className="api-error" title={t('warning.title')} description={<WarningList warnings={warnings} />} />;
}

/** Warnings in the reader's language, or in the API's words where only those say it. */
export function WarningList({ warnings }: { warnings: string[] }) {
  const { t } = useTranslation();
  return (
    <ul>
      {warnings.map((warning) => {
        const { kind, values } = readWarning(warning);
        return (
          <li key={warning}>
            {t(`warning.${kind}`, values)}
            {(kind === 'other' || kind === 'unfit') && <Said open lines={[warning]} />}
          </li>
        );
      })}
    </ul>
  );
}
