import type { AuditEntry } from './filter';

// Translate is i18next's t of the namespace "audit".
export type Translate = (name: string, values?: Record<string, unknown>) => string;

// named looks a name up that itself has dots, such as an act. What is unknown, as
// an act of a newer version is, stays as it is.
function named(group: string, name: string, t: Translate): string {
  return t(`${group}/${name}`, { defaultValue: name, keySeparator: '/' });
}

export const actText = (act: string, t: Translate) => named('act', act, t);
export const codeText = (code: string, t: Translate) => named('code', code, t);

// actorText says who it was.
export function actorText(e: AuditEntry, t: Translate): string {
  const kind = e.actor.kind || 'nobody';
  return t(`actor/${kind}`, { id: e.actor.id ?? '', defaultValue: `${kind} ${e.actor.id ?? ''}`.trim(), keySeparator: '/' });
}

// objectText says what it was about; "" where there is nothing to say.
export function objectText(e: AuditEntry, t: Translate): string {
  if (e.realm && e.key) return t('object/secret', { realm: e.realm, key: e.key, keySeparator: '/' });
  if (e.realm) return t('object/realm', { realm: e.realm, keySeparator: '/' });
  return e.target ?? '';
}

// entryInWords says in a sentence who did what, and why not where it was not
// done. An act that a newer version writes has no sentence, and keeps its name.
export function entryInWords(e: AuditEntry, t: Translate): string {
  const what = t(`${e.result === 'ok' ? 'did' : 'tried'}/${e.act}`, { defaultValue: e.act, keySeparator: '/' });
  return t(`sentence/${e.result}`, {
    who: actorText(e, t),
    what,
    why: e.code ? codeText(e.code, t) : '',
    context: e.code ? 'why' : undefined,
    keySeparator: '/',
  });
}

// details are those that the server writes itself, and how the page says them.
const details: [RegExp, string, string[]][] = [
  [/^by a one-time link$/, 'link', []],
  [/^began with the entry (.+)$/, 'began', ['id']],
  [/^so many entries were lost while the store did not answer$/, 'lost', []],
  [/^so many requests came faster than they could be written$/, 'fast', []],
  [/^of more callers than are told apart$/, 'more', []],
  [/^the entry was altered$/, 'altered', []],
  [/^the entries (\d+) to (\d+) of (.+) were deleted for their age; the digest of the last one is (\w+)$/, 'pruned', ['first', 'last', 'node', 'digest']],
];

// detailText says a detail in the language of t; undefined for one that only its own
// words say.
export function detailText(detail: string, t: Translate): string | undefined {
  for (const [pattern, name, values] of details) {
    const found = pattern.exec(detail);
    if (found) return t(`detail/${name}`, { ...Object.fromEntries(values.map((value, i) => [value, found[i + 1]])), keySeparator: '/' });
  }
  return undefined;
}

// exactTime shows a time to the second, in the zone of the reader.
export function exactTime(time: string, language: string): string {
  return new Intl.DateTimeFormat(language, {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  }).format(new Date(time));
}
