// Why an account was skipped or failed, in the language of the reader: by the few
// reasons of the API's own, else by the code. What only the words of the server or
// the provider say stands behind it, as it is.

import type { Result } from './run';

export type Translate = (name: string, values?: Record<string, unknown>) => string;

const known: Record<string, string> = {
  forbidden: 'forbidden',
  'the token is still fresh': 'fresh',
  'the token was obtained a moment ago, or the provider gave the same again': 'recent',
  'the token has no end': 'endless',
  'the caller did not wait for it': 'gone',
  'internal error; the log says more': 'internal',
};

export function reasonOf({ reason, code }: Pick<Result, 'reason' | 'code'>, t: Translate, exists: (name: string) => boolean): { text?: string; said?: string } {
  const name = reason === undefined ? undefined : known[reason];
  if (name) return { text: t(`reason.${name}`) };
  return {
    ...(code !== undefined && exists(`common:error.${code}`) ? { text: t(`common:error.${code}`) } : {}),
    ...(reason ? { said: reason } : {}),
  };
}
