import { expect, test } from 'vitest';
import { broad, clashes, faults, forAPI, type Rule } from './rule';
import { template, templateNames } from './templates';

const rule = (more: Partial<Rule>): Rule => ({ effect: 'allow', rights: ['use'], realms: ['wechat'], ...more });

test.each<[Partial<Rule>, string[]]>([
  [{ rights: ['admin'], realms: ['*'] }, ['danger adminAll']],
  [{ rights: ['admin'], realms: ['**'] }, ['danger adminAll']],
  [{ rights: ['admin'], realms: ['wechat'] }, []],
  [{ rights: ['admin'], realms: ['*'], keys: ['main'] }, []],
  [{ effect: 'deny', rights: ['admin'], realms: ['*'] }, []],
  [{ rights: ['read', 'flush'], realms: ['*'] }, ['warning readAll', 'info flushAll']],
  [{ realms: ['*'] }, ['warning useAll']],
  [{ rights: ['use', 'read', 'admin', 'flush', 'audit'], realms: [] }, []],
  [{ realms: ['*'], paths: ['/**'] }, ['warning useAll', 'warning everyPath']],
  [{ realms: ['*'], paths: ['/a/**'] }, []],
  [{ effect: 'deny', paths: ['/**'] }, ['info everyPath']],
  [{ rights: ['audit'] }, ['warning auditPart']],
  [{ rights: ['audit'], realms: ['*'] }, []],
  [{ methods: ['GET'] }, ['info noHead']],
  [{ methods: ['GET', 'HEAD'] }, []],
])('what is broad about %j', (more, found) => {
  expect(broad(rule(more)).map((b) => `${b.level} ${b.what}`)).toEqual(found);
});

test.each<[Partial<Rule>, string[]]>([
  [{}, []],
  [{ rights: [], realms: [] }, ['rights noRights', 'realms noRealm']],
  [{ realms: ['a', 'a'] }, ['realms twice']],
  [{ keys: [' '] }, ['keys blank']],
  [{ methods: ['get'] }, ['methods method']],
  [
    { paths: ['a', '/%2e', '/a**', '/**/**', '/a//b', '/a/../b', '/a;b', '/a/'] },
    ['paths slash', 'paths escape', 'paths stars', 'paths stars', 'paths ambiguous', 'paths ambiguous', 'paths ambiguous'],
  ],
  [{ rights: ['use', 'read'], paths: ['/a'] }, ['paths requests']],
])('what is wrong with %j', (more, found) => {
  expect(faults(rule(more)).map((f) => `${f.field} ${f.fault}`)).toEqual(found);
});

test('denials win wherever they stand', () => {
  const use = rule({ paths: ['/a'] });
  const all = rule({ effect: 'deny', realms: ['*'] });
  expect(clashes([use, all])).toEqual([{ what: 'dead', rule: 0, by: 1 }]);
  expect(clashes([all, use])).toEqual([{ what: 'dead', rule: 1, by: 0 }]);
  expect(clashes([use, rule({ effect: 'deny', paths: ['/b'] })])).toEqual([]);
  expect(clashes([rule({}), rule({ effect: 'deny', paths: ['/b'] })])).toEqual([]);
  const admin = rule({ rights: ['admin'], realms: ['*'] });
  expect(clashes([admin, rule({ effect: 'deny', rights: ['admin'] })])).toEqual([
    { what: 'whole', rule: 0, by: 1, right: 'admin' },
  ]);
});

test('empty lists are left out of what is sent', () => {
  expect(forAPI(rule({ keys: [], methods: [], paths: [] }))).toEqual(rule({}));
  expect(forAPI(rule({ rights: ['read'], keys: ['a'], methods: ['GET'], paths: ['/a'] }))).toEqual(
    rule({ rights: ['read'], keys: ['a'] }),
  );
});

test('templates are rules that the API accepts', () => {
  for (const name of templateNames) {
    expect(template(name, 'wechat').flatMap(faults)).toEqual([]);
  }
  expect(faults(template('app', '')[0]!)).toEqual([{ field: 'realms', fault: 'noRealm' }]);
});
