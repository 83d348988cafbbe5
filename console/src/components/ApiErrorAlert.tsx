import { Alert } from 'antd';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/error';
import { Said } from './Said';

// useErrorText returns a function that puts a failure into words: what the code
// means, in the person's language. The detail of the API is English.
export function useErrorText(): (error: Error) => string {
  const { t, i18n } = useTranslation();
  return (error) => {
    const code = error instanceof ApiError ? error.code : 'unknown';
    return i18n.exists(`common:error.${code}`) ? t(`error.${code}`) : t('error.unknown');
  };
}

// useFieldText returns a function that says why the API refuses a field. A fault
// that this page found itself is in the person's language already.
export function useFieldText(): (error: ApiError) => string {
  const { t } = useTranslation();
  return (error) => (error.code === 'conflict' ? error.detail : t('error_at', { detail: error.detail }));
}

interface Props {
  error: Error | null | undefined;
  // In place of what the code means in general.
  title?: string;
}

// ApiErrorAlert shows a problem document: what it means and what to do next, in
// the person's language; behind it what the API said. All of it is text, never
// HTML.
export function ApiErrorAlert({ error, title }: Props) {
  const { t, i18n } = useTranslation();
  const text = useErrorText();
  if (!error) {
    return null;
  }
  const problem = error instanceof ApiError ? error.problem : {};
  const heading = title ?? text(error);
  const code = error instanceof ApiError ? error.code : 'unknown';
  const next = i18n.exists(`common:error_next.${code}`) ? t(`error_next.${code}`) : t('error_next.unknown');
  const facts = [
    problem.field ? t('error_field', { field: problem.field }) : '',
    problem.provider_code ? t('error_provider', { code: problem.provider_code, message: problem.provider_message ?? '' }) : '',
  ].filter((line) => line !== '');
  const isAnswer = error instanceof ApiError && error.status !== 0;
  return (
    <Alert
      type="error"
      showIcon
      className="api-error"
      title={heading}
      description={
        <>
          <div>{next}</div>
          {facts.map((line) => (
            <div key={line}>{line}</div>
          ))}
          <Said open={code === 'invalid_field' || code === 'conflict'} lines={isAnswer ? [error.message !== heading ? error.message : '', problem.reason] : []} />
        </>
      }
    />
  );
}
