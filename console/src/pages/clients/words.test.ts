import i18next, { type i18n } from 'i18next';
import { beforeAll, expect, test } from 'vitest';
import en from '../../i18n/en/clients.json';
import zh from '../../i18n/zh/clients.json';
import type { Rule } from './rule';
import { ruleInWords, type Translate } from './words';

let texts: i18n;
beforeAll(async () => {
  texts = i18next.createInstance();
  await texts.init({
    resources: { en: { clients: en }, zh: { clients: zh } },
    lng: 'en',
    fallbackLng: false,
    ns: ['clients'],
    defaultNS: 'clients',
    interpolation: { escapeValue: false },
  });
});

const allow = (rights: Rule['rights'], realms: string[], more: Partial<Rule> = {}): Rule => ({
  effect: 'allow',
  rights,
  realms,
  ...more,
});
const deny = (rights: Rule['rights'], realms: string[], more: Partial<Rule> = {}): Rule => ({
  ...allow(rights, realms, more),
  effect: 'deny',
});

test.each<[Rule, string, string]>([
  [
    allow(['use'], ['wechat'], { methods: ['GET'], paths: ['/cgi-bin/**'] }),
    'May use the proxy for realm wechat, all keys, with GET below /cgi-bin/.',
    '可以使用代理：realm wechat，所有 key，方法为 GET，/cgi-bin/ 之下的路径。',
  ],
  [
    allow(['use'], ['wechat'], { keys: ['main'] }),
    'May use the proxy for realm wechat, key main.',
    '可以使用代理：realm wechat，key main。',
  ],
  [
    deny(['use'], ['wechat'], { paths: ['/cgi-bin/token', '/cgi-bin/stable_token'] }),
    'Must not use the proxy for realm wechat, any key, at /cgi-bin/token or at /cgi-bin/stable_token.',
    '禁止使用代理：realm wechat，任何 key，路径 /cgi-bin/token 或路径 /cgi-bin/stable_token。',
  ],
  [
    allow(['admin_read', 'flush', 'authorize'], ['*']),
    'May see the settings, have new tokens fetched and begin authorizations for all realms and keys.',
    '可以查看设置、重新获取 token 和发起授权：所有 realm 和 key。',
  ],
  [
    allow(['read'], ['jd', 'suning'], { keys: ['acme-*'] }),
    'May read tokens for the realms jd and suning, keys like acme-*.',
    '可以读取 token：realm jd 和 suning，形如 acme-* 的 key。',
  ],
  [
    deny(['read', 'flush'], ['*']),
    'Must not read tokens or have new tokens fetched for any realm and key.',
    '禁止读取 token 或重新获取 token：任何 realm 和 key。',
  ],
  [allow(['audit'], ['*']), 'May read the audit for all realms and keys.', '可以读取审计记录：所有 realm 和 key。'],
  [
    allow(['use'], ['wx-*'], { methods: ['GET', 'POST'], paths: ['/a/*/b', '/**'] }),
    'May use the proxy for realms like wx-*, all keys, with GET or POST on every path.',
    '可以使用代理：形如 wx-* 的 realm，所有 key，方法为 GET 或 POST，任何路径。',
  ],
  [
    allow(['use'], ['*'], { keys: ['a', 'b', 'c'], paths: ['/a/*/b'] }),
    'May use the proxy for all realms, the keys a, b and c, at paths like /a/*/b.',
    '可以使用代理：所有 realm，key a、b 和 c，形如 /a/*/b 的路径。',
  ],
  [allow([], []), 'May do nothing for no realm yet.', '可以……（未选权限）：尚未选择 realm。'],
  // What somebody typed is text, and no text of the language.
  [
    allow(['use'], ['$t(title)', '{{what}}']),
    'May use the proxy for the realms $t(title) and {{what}}, all keys.',
    '可以使用代理：realm $t(title) 和 {{what}}，所有 key。',
  ],
])('%j', (rule, english, chinese) => {
  expect(ruleInWords(rule, texts.getFixedT('en', 'clients') as unknown as Translate)).toBe(english);
  expect(ruleInWords(rule, texts.getFixedT('zh', 'clients') as unknown as Translate)).toBe(chinese);
});
