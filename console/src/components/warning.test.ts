import { createInstance } from 'i18next';
import { expect, test } from 'vitest';
import en from '../i18n/en/common.json';
import zh from '../i18n/zh/common.json';
import { readWarning } from './warning';

// The words are those of internal/catalog, whose test has them, too.
const warnings = [
  '2 of the newest 1000 secrets cannot be used with the realm, such as app_id: fields.appid: is missing',
  'fields.app_id: is missing; without it there is no token',
  'fields.app_id: nothing in the realm reads it',
  "fields.app_id: nothing in the realm reads it; did you mean 'appid'?",
];

test.each(['en', 'zh'])('%s says what each warning that is known means', async (lng) => {
  const i18n = createInstance();
  await i18n.init({ resources: { en: { common: en }, zh: { common: zh } }, defaultNS: 'common', lng });
  const texts = warnings.map((warning) => {
    const { kind, values } = readWarning(warning);
    expect(i18n.exists(`warning.${kind}`)).toBe(true);
    return i18n.t(`warning.${kind}`, { ...values });
  });
  expect(new Set(texts).size).toBe(warnings.length);
  expect(texts.filter((text) => !text.includes('app_id'))).toEqual([]);
  expect(texts[0]).toContain('2');
  expect(texts[3]).toContain('appid');
});

test('a warning of a newer server is one of which nothing is known', () => {
  expect(readWarning('something new').kind).toBe('other');
});
