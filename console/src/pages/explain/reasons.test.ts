import i18next from 'i18next';
import { expect, test } from 'vitest';
import en from '../../i18n/en/explain.json';
import zh from '../../i18n/zh/explain.json';
import common from '../../i18n/en/common.json';
import failure from '../../i18n/en/failure.json';
import commonZH from '../../i18n/zh/common.json';
import failureZH from '../../i18n/zh/failure.json';
import { lastReason, reasonText, type Translate } from './reasons';

const texts = i18next.createInstance();
await texts.init({
  resources: { en: { explain: en, common, failure }, zh: { explain: zh, common: commonZH, failure: failureZH } },
  lng: 'en',
  fallbackLng: false,
  defaultNS: 'explain',
  interpolation: { escapeValue: false },
});
const words = (language: string) => texts.getFixedT(language, 'explain') as unknown as Translate;

test.each([
  ['rule 0 allows use on realms "practice", methods "GET"', 'Rule 0 allows it.', '规则 0 允许。'],
  ['rule 12 denies use on realms "*"', 'Rule 12 denies it.', '规则 12 禁止。'],
  [
    'rule 1 denies use on realms "*", paths "/a", which goes by paths, so that the request is refused',
    'Rule 1 goes by paths, so that the request is refused.',
    '规则 1 要看路径，因此拒绝这个请求。',
  ],
  [
    'rule 0 comes closest; it does not fit the method, the path',
    'Rule 0 comes closest; it does not fit the method, the path.',
    '最接近的是规则 0，不符合的是方法、路径。',
  ],
  [
    'the client has used up its 100/s requests on this node; the next one is free in 5ms',
    'The client has used up its 100/s requests on this node; the next one is free in 5ms.',
    '客户端在这个节点上已用完 100/s 的请求限额，5ms 之后才有下一个。',
  ],
  [
    'the state of the token is failing: invalid <b>secret</b>',
    'The state of the token is Failing.',
    'token 的状态是 获取失败。',
  ],
  ['something that a newer version says', undefined, undefined],
])('%s', (reason, english, chinese) => {
  expect(reasonText(reason, words('en'))).toBe(english);
  expect(reasonText(reason, words('zh'))).toBe(chinese);
});

// They were English in the Chinese console.
test('what the realm and the token have to do with it is said by codes, and the words of the server stand behind', () => {
  const say = (reason: string, why: object, language: string) =>
    lastReason(reason, why, words(language), (name) => texts.exists(name, { lng: language }));
  for (const [language, errors, failures] of [['en', common, failure], ['zh', commonZH, failureZH]] as const) {
    expect(say('no realm is named x', { code: 'realm_not_found' }, language)).toEqual({
      text: errors.error.realm_not_found,
      said: 'no realm is named x',
    });
    const failing = say('the state of the token is failing: refused: 40125 invalid', { failure: 'refused', provider_code: '40125' }, language);
    expect(failing.text).toContain(failures.refused.secret.reason);
    expect(failing.said).toBe('refused: 40125 invalid');
    expect(say('there is a live token', {}, language)).toEqual({ text: words(language)('reason.live') });
    expect(say('something new', { code: 'of_a_newer_version' }, language)).toEqual({ said: 'something new' });
  }
});
