// The reasons of an explanation, in the language of the reader. The API writes
// them in English; each is recognized by its words, and what the realm, the secret
// and the token have to do with it by codes. What only the words of the server or
// the provider say stands behind that, as it is.

import { whyFailed } from '../../components/failure';

export type Translate = (name: string, values?: Record<string, unknown>) => string;

type Say = (t: Translate, found: string[]) => string;

const misses: Record<string, string> = { 'the right': 'right', 'the key': 'key', 'the method': 'method', 'the path': 'path' };

const patterns: [RegExp, Say][] = [
  [/^rule (\d+) (allows|denies) .*$/s, (t, [, rule, verb]) => t(verb === 'allows' ? 'reason.allows' : 'reason.denies', { rule })],
  [/^rule (\d+) \w+ .*, which goes by paths, so that the request is refused$/s, (t, [, rule]) => t('reason.byPaths', { rule })],
  [/^the path .*: the provider may read it in another way than the rules do$/s, (t) => t('reason.ambiguous')],
  [/^no rule allows (\w+), and nothing is allowed that no rule allows$/, (t, [, right]) => t('reason.noRule', { right })],
  [
    /^rule (\d+) comes closest; it does not fit (.+)$/,
    (t, [, rule, list]) =>
      t('reason.closest', {
        rule,
        what: list!
          .split(', ')
          .map((w) => (misses[w] ? t(`reason.miss.${misses[w]}`) : w))
          .join(t('reason.comma')),
      }),
  ],
  [/^the realm does not allow the method (.+)$/, (t, [, method]) => t('reason.method', { method })],
  [/^the request goes to (.+), and the token to (.+) alone$/, (t, [, api, hosts]) => t('reason.goes', { api, hosts })],
  [/^the token is obtained with one of realm (.+)$/, (t, [, realm]) => t('reason.parent', { realm })],
  [/^there is no token in memory; the request would load or fetch one$/, (t) => t('reason.noToken')],
  [/^there is a live token$/, (t) => t('reason.live')],
  [
    /^the state of the token is (\w+)(?:: (.+))?$/s,
    (t, [, state]) => t('reason.state', { state: t(`common:state.${state}`, { defaultValue: state }) }),
  ],
  [/^what is stored of the client is damaged, so that nobody is this client$/, (t) => t('reason.damaged')],
  [/^the client expired at (.+)$/, (t, [, time]) => t('reason.expired', { time })],
  [/^all keys of the client have expired; rotate makes a new one$/, (t) => t('reason.keysExpired')],
  [/^the client has no key, user, subject or source, so that nobody is this client$/, (t) => t('reason.nobody')],
  [
    /^(\d+) requests of the client are under way on this node, and (\d+) may be$/,
    (t, [, n, most]) => t('reason.concurrency', { n, most }),
  ],
  [
    /^the client has used up its (\S+) (requests|token requests) on this node; the next one is free in ([^,]+)(, so that .*)?$/,
    (t, [, limit, what, wait, fetches]) => t(fetches ? 'reason.fetches' : 'reason.requests', { limit, what, wait }),
  ],
];

// Why is what the last reason says, for programs.
export interface Why {
  code?: string;
  failure?: string;
  provider_code?: string;
}

// lastReason says the last reason by its codes; said are the words of the server.
export function lastReason(reason: string, why: Why, t: Translate, exists: (name: string) => boolean): { text?: string; said?: string } {
  if (why.code !== undefined && exists(`common:error.${why.code}`)) {
    return { text: t(`common:error.${why.code}`), said: reason };
  }
  const text = reasonText(reason, t);
  if (why.failure === undefined) return text === undefined ? { said: reason } : { text };
  const { failure, provider_code: code } = why;
  const cause = t(`failure:${whyFailed({ failure, ...(code === undefined ? {} : { code }) }, exists)}.reason`);
  return { text: text === undefined ? cause : `${text} ${cause}`, said: /: (.+)$/s.exec(reason)?.[1] ?? reason };
}

// reasonText says a reason in the language of t; undefined for one that only its own
// words say.
export function reasonText(reason: string, t: Translate): string | undefined {
  // The narrower pattern for rules with paths stands behind the one for rules.
  if (/, which goes by paths, so that the request is refused$/.test(reason)) {
    return patterns[1]![1](t, patterns[1]![0].exec(reason) ?? []);
  }
  for (const [pattern, say] of patterns) {
    const found = pattern.exec(reason);
    if (found) return say(t, found);
  }
  return undefined;
}
