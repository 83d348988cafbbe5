import { createInstance } from 'i18next';
import { beforeAll, expect, it } from 'vitest';
import description from '../../../../internal/adminapi/openapi.json';
import en from '../../i18n/en/doctor.json';
import zh from '../../i18n/zh/doctor.json';
import { type Advice, adviceText, type Texts } from './advice';

const words = description.components.schemas.Advice['x-words'];
const i18n = createInstance();
beforeAll(() => i18n.init({ resources: { en: { doctor: en }, zh: { doctor: zh } }, lng: 'en', interpolation: { escapeValue: false } }));

function textsOf(language: string): Texts {
  return { language, t: i18n.getFixedT(language), exists: (key) => i18n.exists(key, { lng: language }) };
}

function adviceOf(word: string, more: Partial<Advice> = {}): Advice {
  const [code = '', which] = word.split('.');
  return { code, ...(which ? { case: which } : {}), text: 'ENGLISH', ...more };
}

// These are said by the catalogue, in both languages.
const said = ['preset', 'preset_call'];

it.each(['en', 'zh'])('%s has a text for every advice that the doctor has', (language) => {
  expect(words.length).toBeGreaterThan(50);
  const untranslated = words.filter((word) => !said.includes(word)).filter((word) => adviceText(adviceOf(word), textsOf(language)) === 'ENGLISH');
  expect(untranslated).toEqual([]);
});

it('puts the values into the text', () => {
  const advice = adviceOf('address_not_listed.seen', { values: { address: '203.0.113.7', list: 'wechat' } });
  expect(adviceText(advice, textsOf('zh'))).toBe('服务商只接受白名单中的 IP。它看到的 IP 是 203.0.113.7，请把它加入公众号的 IP 白名单（微信：设置与开发 > 基本配置）。');
  const unit = adviceOf('unit.other', { values: { unit: 's', other: 'epoch_s' } });
  expect(adviceText(unit, textsOf('en'))).toContain('makes no sense as seconds.');
});

it('names the API where a call failed, and the host where the token request did', () => {
  expect(adviceText(adviceOf('call_dns'), textsOf('zh'))).toMatch(/^DNS 中找不到 API。/);
  expect(adviceText(adviceOf('dns', { values: { host: 'a.example' } }), textsOf('en'))).toMatch(/^a\.example cannot/);
});

it('says what the catalogue knows of a code', () => {
  const preset = { errors: [{ code: '40164', en: 'Add it.', zh: '请添加。' }] };
  expect(adviceText(adviceOf('preset', { values: { code: '40164' } }), textsOf('zh'), preset)).toBe('40164: 请添加。');
  expect(adviceText(adviceOf('preset_call', { values: { code: '40164' } }), textsOf('zh'), preset)).toBe('API 的答复是 40164。 请添加。');
});

it('shows the English text of what it does not know', () => {
  expect(adviceText(adviceOf('something_new'), textsOf('zh'))).toBe('ENGLISH');
});
