// Why an account was skipped or failed, in the language of the reader. The words
// of the API's own are known; a provider's are shown as they are.

export type Translate = (name: string, values?: Record<string, unknown>) => string;

const known: Record<string, string> = {
  forbidden: 'forbidden',
  'the token is still fresh': 'fresh',
  'the token was obtained a moment ago, or the provider gave the same again': 'recent',
  'the token has no end': 'endless',
  'the caller did not wait for it': 'gone',
  'internal error; the log says more': 'internal',
};

export function reasonText(reason: string | undefined, t: Translate): string {
  if (!reason) return '';
  const name = known[reason];
  return name ? t(`reason.${name}`) : reason;
}
