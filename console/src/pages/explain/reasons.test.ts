import i18next from 'i18next';
import { expect, test } from 'vitest';
import en from '../../i18n/en/explain.json';
import zh from '../../i18n/zh/explain.json';
import { reasonText, type Translate } from './reasons';

const texts = i18next.createInstance();
await texts.init({
  resources: { en: { explain: en }, zh: { explain: zh } },
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
    'The state of the token is failing: invalid <b>secret</b>',
    'token 的状态是 failing：invalid <b>secret</b>',
  ],
  ['something that a newer version says', 'something that a newer version says', 'something that a newer version says'],
])('%s', (reason, english, chinese) => {
  expect(reasonText(reason, words('en'))).toBe(english);
  expect(reasonText(reason, words('zh'))).toBe(chinese);
});
