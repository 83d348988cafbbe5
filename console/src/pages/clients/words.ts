import { isAll, type Rule } from './rule';

// Translate is i18next's t of the namespace "clients".
export type Translate = (name: string, values?: Record<string, unknown>) => string;

// ruleInWords says in one sentence what a rule allows or denies:
// "May use the proxy for realm wechat, all keys, with GET below /cgi-bin/."
//
// The parts and how they are put together are texts of the language, so that a
// sentence reads as one in both of them.
export function ruleInWords(rule: Rule, t: Translate): string {
  const denies = rule.effect === 'deny';
  const what = list(
    rule.rights.map((right) => t(`words.right.${right}`)),
    t,
    denies ? 'or' : 'and',
  );
  return t(denies ? 'words.deny' : 'words.allow', {
    what: what || t('words.nothing'),
    where: [...scope(rule, t), request(rule, t)].filter(Boolean).join(t('words.comma')),
  });
}

// scope says for which secrets the rule is.
function scope(rule: Rule, t: Translate): string[] {
  const denies = rule.effect === 'deny';
  if (rule.realms.length === 0) return [t('words.noRealm')];
  const keys = rule.keys ?? [];
  if (isAll(rule.realms) && isAll(keys)) return [t(denies ? 'words.anyRealmAndKey' : 'words.allRealmsAndKeys')];
  return [
    isAll(rule.realms) ? t(denies ? 'words.anyRealm' : 'words.allRealms') : patterns('words.realms', rule.realms, t),
    isAll(keys) ? t(denies ? 'words.anyKey' : 'words.allKeys') : patterns('words.keys', keys, t),
  ];
}

// patterns names ids; a lone pattern is said to be one.
function patterns(name: string, ids: string[], t: Translate): string {
  const form = ids.length > 1 ? 'many' : ids[0]!.includes('*') ? 'like' : 'one';
  return t(`${name}.${form}`, { list: list(ids, t, 'and') });
}

// request says for which requests the rule is; "" for all.
function request(rule: Rule, t: Translate): string {
  const parts: string[] = [];
  if (!isAll(rule.methods)) parts.push(t('words.methods', { list: list(rule.methods!, t, 'or') }));
  if (rule.paths?.includes('/**')) parts.push(t('words.path.every'));
  else if (rule.paths?.length)
    parts.push(
      list(
        rule.paths.map((p) => path(p, t)),
        t,
        'or',
      ),
    );
  return parts.join(t('words.blank'));
}

// path says which paths a pattern matches. "/a/**" is /a itself, too, which
// "below" keeps quiet about, as everybody does who speaks of a directory.
function path(pattern: string, t: Translate): string {
  const below = pattern.endsWith('/**') ? pattern.slice(0, -2) : '';
  if (below && !below.includes('*')) return t('words.path.below', { path: below });
  return t(pattern.includes('*') ? 'words.path.like' : 'words.path.at', { path: pattern });
}

// list joins words: "a", "a and b", "a, b and c". Chinese words have blanks
// around what is Latin, and none between each other.
export function list(words: readonly string[], t: Translate, by: 'and' | 'or'): string {
  if (words.length < 2) return words[0] ?? '';
  const last = words[words.length - 1]!;
  const head = words.slice(0, -1).join(t('words.listComma'));
  let joint = t(`words.${by}`);
  if (/\p{Script=Han}$/u.test(head)) joint = joint.trimStart();
  if (/^\p{Script=Han}/u.test(last)) joint = joint.trimEnd();
  return /\p{Script=Han}/u.test(joint) ? head + joint + last : head + t(`words.${by}`) + last;
}
