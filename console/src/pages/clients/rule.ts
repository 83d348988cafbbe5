// A rule of a client: what it holds, what is wrong with it, and what is broad
// about it. Nothing in here knows a language or React.

export const rights = ['use', 'read', 'flush', 'authorize', 'push', 'admin_read', 'admin', 'audit'] as const;
export type Right = (typeof rights)[number];

export interface Rule {
  effect: 'allow' | 'deny';
  rights: Right[];
  realms: string[];
  // Absent lists stand for everything; the API refuses empty ones.
  keys?: string[];
  methods?: string[];
  paths?: string[];
}

export const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

// isAll reports whether a list of patterns matches everything: it is absent, or
// one of its patterns is made of stars alone.
export function isAll(list: readonly string[] | undefined): boolean {
  return !list || list.length === 0 || list.some((pattern) => /^\*+$/.test(pattern));
}

// isEveryPath reports whether a list of path patterns matches every path.
export function isEveryPath(list: readonly string[] | undefined): boolean {
  return !list || list.length === 0 || list.includes('/**');
}

// hasRequests reports whether a rule may have methods and paths: only requests
// through the proxy have any, so that the API refuses them beside other rights.
export function hasRequests(rule: Pick<Rule, 'rights'>): boolean {
  return rule.rights.length === 1 && rule.rights[0] === 'use';
}

// Fault is what the API would refuse. The text is a name for the translation.
export interface Fault {
  field: keyof Rule;
  fault: 'noRights' | 'noRealm' | 'blank' | 'twice' | 'method' | 'slash' | 'escape' | 'stars' | 'requests' | 'ambiguous';
  value?: string;
}

// faults finds what the API would refuse in a rule, so that it is said while
// somebody types. The API stays the judge.
export function faults(rule: Rule): Fault[] {
  const found: Fault[] = [];
  if (rule.rights.length === 0) found.push({ field: 'rights', fault: 'noRights' });
  if (rule.realms.length === 0) found.push({ field: 'realms', fault: 'noRealm' });
  for (const field of ['realms', 'keys', 'methods', 'paths'] as const) {
    const list = rule[field] ?? [];
    list.forEach((value, i) => {
      if (value.trim() === '') found.push({ field, fault: 'blank' });
      else if (list.indexOf(value) !== i) found.push({ field, fault: 'twice', value });
    });
  }
  for (const value of rule.methods ?? []) {
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Z]+$/.test(value)) found.push({ field: 'methods', fault: 'method', value });
  }
  for (const value of rule.paths ?? []) {
    const fault = pathFault(value);
    if (fault) found.push({ field: 'paths', fault, value });
  }
  if (!hasRequests(rule) && rule.rights.length > 0) {
    if (rule.methods?.length) found.push({ field: 'methods', fault: 'requests' });
    if (rule.paths?.length) found.push({ field: 'paths', fault: 'requests' });
  }
  return found;
}

function pathFault(value: string): Fault['fault'] | undefined {
  if (!value.startsWith('/')) return 'slash';
  if (value.includes('%')) return 'escape';
  const segments = value.slice(1).split('/');
  if (segments.some((s, i) => (s.includes('**') && s !== '**') || (s === '**' && segments[i - 1] === '**'))) return 'stars';
  // The last segment may be empty: /a/ is another path than /a.
  if (segments.some((s, i) => s === '.' || s === '..' || (s === '' && i < segments.length - 1))) return 'ambiguous';
  if (/[\\;?#\u0000-\u001f\u007f]/.test(value)) return 'ambiguous';
  return undefined;
}

// Broad is what makes a rule wider than it may look. danger: whoever is this
// client can do anything; warning: more than most apps need; info: good to know.
export interface Broad {
  what: 'adminAll' | 'readAll' | 'useAll' | 'flushAll' | 'everyPath' | 'auditPart' | 'noHead';
  level: 'danger' | 'warning' | 'info';
}

// broad finds what deserves a second look in a rule.
export function broad(rule: Rule): Broad[] {
  const found: Broad[] = [];
  // Without a realm, a rule is not finished: it is about nothing yet.
  const anyRealm = rule.realms.length > 0 && isAll(rule.realms);
  const everywhere = anyRealm && isAll(rule.keys);
  const allows = (right: Right) => rule.effect === 'allow' && rule.rights.includes(right);
  if (allows('admin') && everywhere) found.push({ what: 'adminAll', level: 'danger' });
  if (allows('read') && anyRealm) found.push({ what: 'readAll', level: 'warning' });
  if (allows('flush') && anyRealm) found.push({ what: 'flushAll', level: 'info' });
  if (allows('use') && anyRealm && isAll(rule.methods) && isEveryPath(rule.paths)) {
    found.push({ what: 'useAll', level: 'warning' });
  }
  if (rule.paths?.includes('/**')) found.push({ what: 'everyPath', level: rule.effect === 'allow' ? 'warning' : 'info' });
  // The audit is one for all realms: a right to a part of it is none at all.
  if (allows('audit') && rule.realms.length > 0 && !everywhere) found.push({ what: 'auditPart', level: 'warning' });
  if (hasRequests(rule) && rule.methods?.includes('GET') && !rule.methods.includes('HEAD') && !isAll(rule.methods)) {
    found.push({ what: 'noHead', level: 'info' });
  }
  return found;
}

// Clash is about two rules of one client: a denial that takes all of what
// another rule allows, or one of the rights that count only as a whole.
export interface Clash {
  what: 'dead' | 'whole';
  rule: number; // the index of the rule that loses
  by: number; // the index of the denial
  right?: Right;
}

// clashes finds what denials take away. Denials win wherever they stand, so that
// the order of the rules has no say in it.
export function clashes(rules: readonly Rule[]): Clash[] {
  const found: Clash[] = [];
  rules.forEach((rule, i) => {
    if (rule.effect !== 'allow') return;
    rules.forEach((denial, by) => {
      if (denial.effect !== 'deny') return;
      if (covers(denial, rule)) {
        found.push({ what: 'dead', rule: i, by });
        return;
      }
      for (const right of ['admin', 'audit'] as const) {
        if (rule.rights.includes(right) && denial.rights.includes(right) && isAll(rule.realms) && isAll(rule.keys)) {
          found.push({ what: 'whole', rule: i, by, right });
        }
      }
    });
  });
  return found;
}

// covers reports whether a denial surely takes everything that a rule allows.
// It compares texts: what only patterns together cover is not noticed.
function covers(denial: Rule, rule: Rule): boolean {
  const within = (wide: string[] | undefined, narrow: string[] | undefined) =>
    isAll(wide) || (!isAll(narrow) && narrow!.every((x) => wide!.includes(x)));
  return (
    rule.rights.length > 0 &&
    rule.rights.every((r) => denial.rights.includes(r)) &&
    within(denial.realms, rule.realms) &&
    within(denial.keys, rule.keys) &&
    within(denial.methods, rule.methods) &&
    (isEveryPath(denial.paths) || (!isEveryPath(rule.paths) && rule.paths!.every((p) => denial.paths!.includes(p))))
  );
}

// forAPI makes the rule that is sent: without lists that are empty, and without
// methods and paths where the rights have none.
export function forAPI(rule: Rule): Rule {
  const sent: Rule = { effect: rule.effect, rights: rule.rights, realms: rule.realms };
  if (rule.keys?.length) sent.keys = rule.keys;
  if (hasRequests(rule)) {
    if (rule.methods?.length) sent.methods = rule.methods;
    if (rule.paths?.length) sent.paths = rule.paths;
  }
  return sent;
}
