import i18next from 'i18next';
import { expect, test } from 'vitest';
import en from '../../i18n/en/audit.json';
import zh from '../../i18n/zh/audit.json';
import api from '../../../../internal/adminapi/openapi.json';
import { csvHead, csvLine } from './csv';
import { collect } from './file';
import { acts, queryOf, viewOf, type AuditEntry } from './filter';
import { detailText, entryInWords, type Translate } from './words';

// The codes of the API's own description.
const errorCodes = api.components.schemas.Problem.properties.code.enum;

const entry: AuditEntry = {
  id: 'gw/7',
  node: 'gw',
  seq: 7,
  time: '2026-11-29T19:00:00.000000Z',
  actor: { kind: 'client', id: 'billing' },
  address: '10.1.2.3',
  act: 'secret.update',
  realm: 'crm',
  key: 'main',
  result: 'ok',
};

test('a line has as many cells as the head', () => {
  const line = csvLine({ ...entry, actor: { kind: 'client', id: '=cmd' }, count: 3 });
  expect(csvHead.startsWith('\ufeffid,time,')).toBe(true);
  expect(line).toBe("gw/7,2026-11-29T19:00:00.000000Z,gw,7,client,'=cmd,10.1.2.3,secret.update,crm,main,,ok,,,3\r\n");
  expect(line.split(',')).toHaveLength(csvHead.split(',').length);
});

test('an export is all lines, and none where the answer was cut', async () => {
  const text = JSON.stringify(entry) + '\n' + JSON.stringify({ ...entry, seq: 8 }) + '\n';
  const counts: number[] = [];
  expect(await (await collect(new Response(text), 'ndjson', (n) => counts.push(n))).text()).toBe(text);
  expect(counts).toEqual([2]);
  const csv = await (await collect(new Response(text), 'csv', () => undefined)).text();
  expect(csv.split('\r\n')).toHaveLength(4);
  await expect(collect(new Response(text.slice(0, -20)), 'ndjson', () => undefined)).rejects.toThrow();
});

test('a view survives its address', () => {
  const view = { filter: { actor: 'a&b', result: 'refused', from: '2026-11-01T00:00:00.000Z' }, page: 3, pageSize: 50 };
  expect(viewOf(new URLSearchParams(queryOf(view).toString()))).toEqual(view);
  expect(viewOf(new URLSearchParams('page=-1&pageSize=7&result=x&from=yesterday&color=red&realm='))).toEqual({
    filter: {},
    page: 1,
    pageSize: 20,
  });
});

const texts = i18next.createInstance();
await texts.init({
  resources: { en: { audit: en }, zh: { audit: zh } },
  lng: 'en',
  fallbackLng: false,
  defaultNS: 'audit',
  interpolation: { escapeValue: false },
});
const words = (language: string) => texts.getFixedT(language, 'audit') as unknown as Translate;

test.each<[Partial<AuditEntry>, string, string]>([
  [{}, 'Client billing changed a secret.', '客户端 billing：修改 secret。'],
  [
    { result: 'refused', code: 'forbidden' },
    'Client billing was refused: change a secret (no right to it).',
    '客户端 billing：修改 secret，被拒绝（没有权限）。',
  ],
  [
    { result: 'failed', actor: { kind: 'system' }, act: 'token.flush' },
    'The system failed: fetch a token anew.',
    '系统：重新获取 token，失败。',
  ],
  [
    { result: 'refused', actor: { kind: '' }, act: 'login', code: 'forbidden' },
    'Somebody unknown was refused: come in (no right to it).',
    '未知调用方：登录，被拒绝（没有权限）。',
  ],
  [{ act: 'moon.land', actor: { kind: 'alien', id: 'x' } }, 'alien x moon.land.', 'alien x：moon.land。'],
])('%j in words', (more, english, chinese) => {
  expect(entryInWords({ ...entry, ...more }, words('en'))).toBe(english);
  expect(entryInWords({ ...entry, ...more }, words('zh'))).toBe(chinese);
});

test('every act and every code has words', () => {
  for (const language of [en, zh]) {
    for (const act of Object.values(acts).flat()) {
      expect(Object.keys(language.act)).toContain(act);
      expect(Object.keys(language.did)).toContain(act);
      expect(Object.keys(language.tried)).toContain(act);
    }
    expect(errorCodes.filter((code) => !(code in language.code))).toEqual([]);
  }
});

test.each(['en', 'zh'])('%s says the details that the server writes itself', (language) => {
  const words = texts.getFixedT(language, 'audit') as unknown as Translate;
  for (const detail of [
    'by a one-time link',
    'so many entries were lost while the store did not answer',
    'so many requests came faster than they could be written',
    'of more callers than are told apart',
    'the entry was altered',
  ]) {
    expect(detailText(detail, words)).not.toMatch(/^detail|undefined/);
  }
  expect(detailText('began with the entry gw/7', words)).toContain('gw/7');
  const pruned = detailText('the entries 1 to 500 of gw were deleted for their age; the digest of the last one is 5f0c', words);
  for (const part of ['1', '500', 'gw', '5f0c']) expect(pruned).toContain(part);
  expect(detailText('what a newer version says', words)).toBeUndefined();
});
