import { createInstance } from 'i18next';
import { beforeAll, expect, test } from 'vitest';
import description from '../../../internal/adminapi/openapi.json';
import common from '../i18n/en/common.json';
import en from '../i18n/en/failure.json';
import commonZH from '../i18n/zh/common.json';
import zh from '../i18n/zh/failure.json';
import { whyFailed, whyNoted } from './failure';
import { states } from './StateTag';

const i18n = createInstance();
beforeAll(() => i18n.init({ resources: { en: { failure: en, common }, zh: { failure: zh, common: commonZH } }, lng: 'en' }));

const languages = ['en', 'zh'];
const schemas = description.components.schemas;

test.each(languages)('%s says what each failure of a token means, and what to do', (lng) => {
  const exists = (name: string) => i18n.exists(name, { lng });
  const words: string[] = schemas.Failure.enum;
  expect(words.length).toBeGreaterThan(10);
  expect(words.filter((failure) => whyFailed({ failure }, exists) !== `failure.${failure}` || !exists(`failure:failure.${failure}.next`))).toEqual([]);
});

test.each(languages)('%s says what each code of an error means, and what to do', (lng) => {
  const codes = schemas.Problem.properties.code.enum;
  expect(codes.length).toBeGreaterThan(20);
  const lacking = codes.filter((code) => !i18n.exists(`common:error.${code}`, { lng }) || !i18n.exists(`common:error_next.${code}`, { lng }));
  expect(lacking).toEqual([]);
});

test('every state has a name', () => {
  const [list = ''] = schemas.TokenStatus.properties.state.description.split('.');
  const described = list.replace(/\([^)]*\)/g, '').match(/[a-z_]+/g)?.filter((word) => word !== 'or');
  expect([...states].sort()).toEqual(described?.sort());
});

test('a refusal that many providers have is known by its code', () => {
  const exists = (name: string) => i18n.exists(name);
  for (const [code, kind] of Object.entries({ 40164: 'address', 40001: 'secret', invalid_client: 'secret', invalid_scope: 'scope', 45009: 'quota', 40013: 'id' })) {
    const why = whyFailed({ failure: 'refused', code }, exists);
    expect(why).toBe(`refused.${kind}`);
    expect(languages.filter((lng) => !i18n.exists(`failure:${why}.next`, { lng }))).toEqual([]);
  }
  expect(whyFailed({ failure: 'refused', code: '99' }, exists)).toBe('failure.refused');
  // The server found an address in the words of a provider whose codes are not known.
  expect(whyFailed({ failure: 'refused', code: '99', address: '203.0.113.7' }, exists)).toBe('refused.address');
  expect(languages.filter((lng) => !i18n.t('failure:address', { lng, address: '203.0.113.7' }).includes('203.0.113.7'))).toEqual([]);
  // The same number of a broken answer is something else.
  expect(whyFailed({ failure: 'bad_response', code: '40001' }, exists)).toBe('failure.bad_response');
  expect(whyFailed({ failure: 'something_new' }, exists)).toBe('failure.other');
  expect(whyFailed({}, exists)).toBe('failure.other');
});

test('a note is known by the word it begins with', () => {
  expect(whyNoted('contention: let one system fetch')).toBe('note.contention');
  expect(whyNoted('this node does not hear of the other nodes')).toBe('note.deaf');
  expect(whyNoted('something new')).toBe('note.other');
});
