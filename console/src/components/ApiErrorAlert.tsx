import { Alert } from 'antd';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/error';

// useErrorText returns a function that puts a failure into words: what the code
// means, in the person's language. The detail of the API is English.
export function useErrorText(): (error: Error) => string {
  const { t, i18n } = useTranslation();
  return (error) => {
    const code = error instanceof ApiError ? error.code : 'unknown';
    return i18n.exists(`common:error.${code}`) ? t(`error.${code}`) : t('error.unknown');
  };
}

interface Props {
  error: Error | null | undefined;
  // In place of what the code means in general.
  title?: string;
}

// ApiErrorAlert shows a problem document: what it means, and what the API and
// the provider said. All of it is text, never HTML.
export function ApiErrorAlert({ error, title }: Props) {
  const { t } = useTranslation();
  const text = useErrorText();
  if (!error) {
    return null;
  }
  const problem = error instanceof ApiError ? error.problem : {};
  const heading = title ?? text(error);
  const lines = [
    error.message !== heading && error instanceof ApiError && error.status !== 0 ? error.message : '',
    problem.reason ?? '',
    problem.field ? t('error_field', { field: problem.field }) : '',
    problem.provider_code ? t('error_provider', { code: problem.provider_code, message: problem.provider_message ?? '' }) : '',
  ].filter((line) => line !== '');
  return (
    <Alert
      type="error"
      showIcon
      className="api-error"
      title={heading}
      description={lines.length > 0 ? lines.map((line) => <div key={line}>{line}</div>) : undefined}
    />
  );
}
