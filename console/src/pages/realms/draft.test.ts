import { describe, expect, it } from 'vitest';
import {
  type Draft,
  fieldsRead,
  groupFields,
  isMultiLine,
  lineOfField,
  needsPerson,
  parentsOf,
  parseConfig,
  type Preset,
  realmBody,
  secretBody,
  shown,
  withPreset,
} from './draft';

const help = { en: '', zh: '' };
const preset: Preset = {
  name: 'shop',
  title: help,
  category: 'commerce',
  fields: [
    { name: 'app_id', required: true, confidential: false, shared: true, help },
    { name: 'app_secret', required: true, confidential: true, shared: true, help },
    { name: 'scope', required: false, confidential: false, shared: true, default: 'all', help },
    { name: 'user', required: true, confidential: false, help },
    { name: 'password', required: true, confidential: true, help },
    { name: 'ticket', required: true, confidential: true, pushed: true, help },
    { name: 'private_key', required: true, confidential: true, help },
  ],
  docs: [],
  notes: { en: [], zh: [] },
  errors: [],
  unverified: [],
  config: { api: 'https://a.example', shared: { scope: 'all' } },
};

const draft: Draft = {
  id: ' shop ',
  comment: ' ours ',
  key: ' main ',
  values: {
    app_id: 'A',
    app_secret: 'CANARY-1',
    user: ' u ',
    password: 'CANARY-2',
    private_key: 'CANARY-3\n',
    scope: ' ',
  },
  injectOnly: true,
  isDefaultKey: true,
  config: null,
};

describe('groupFields', () => {
  it('asks for what has no default and does not come by itself', () => {
    const names = (fields: { name: string }[]) => fields.map((f) => f.name);
    const groups = groupFields(preset.fields);
    expect(names(groups.app)).toEqual(['app_id', 'app_secret']);
    expect(names(groups.secret)).toEqual(['user', 'password', 'private_key']);
    expect(names(groups.optional)).toEqual(['scope', 'ticket']);
  });
});

describe('bodies', () => {
  it('puts shared fields into the realm and the others into the secret', () => {
    expect(realmBody(draft, preset)).toEqual({
      id: 'shop',
      comment: 'ours',
      config: {
        preset: 'shop',
        shared: { app_id: 'A', app_secret: 'CANARY-1' },
        default_key: 'main',
        inject_only: true,
      },
    });
    expect(secretBody(draft, preset)).toEqual({
      realm: 'shop',
      key: 'main',
      fields: { user: 'u', password: 'CANARY-2', private_key: 'CANARY-3\n' },
    });
  });

  it('takes the config of an expert as it is', () => {
    const own = { ...draft, values: {}, config: { url: 'x' } };
    expect(realmBody(own, preset).config).toEqual({ url: 'x' });
  });

  it('adds the values of the form to what an expert wrote', () => {
    const config = { preset: 'shop', shared: { app_id: 'B' } };
    expect(realmBody({ ...draft, config }, preset).config).toEqual({
      preset: 'shop',
      shared: { app_id: 'B', app_secret: 'CANARY-1' },
    });
  });

  it('makes no secret without a key', () => {
    expect(secretBody({ ...draft, key: ' ' }, preset)).toBeNull();
  });

  it('shows no value that is confidential', () => {
    const realm = shown(realmBody(draft, preset), preset);
    const secret = shown(secretBody(draft, preset)!, preset);
    expect(JSON.stringify([realm, secret])).not.toContain('CANARY');
    expect(realm.config.shared).toEqual({ app_id: 'A', app_secret: '<app_secret>' });
    expect(secret.fields).toEqual({ user: 'u', password: '<password>', private_key: '<private_key>' });
  });

  it('shows no value at all where no preset says which are confidential', () => {
    const body = shown({ realm: 'r', key: 'k', fields: { x: 'CANARY' } }, null);
    expect(body.fields).toEqual({ x: '<x>' });
    const config = { shared: { y: 'CANARY' } };
    expect(shown({ id: 'r', config }, null).config.shared).toEqual({ y: '<y>' });
  });
});

describe('what a config says', () => {
  it('names the realms whose tokens it takes', () => {
    const config = {
      arguments: [{ value: '{token_of.wechat}' }, { value: 'a{token_of.b.main}' }],
      url: '{token_of.wechat.x}',
    };
    expect(parentsOf(config)).toEqual(['wechat', 'b']);
    expect(parentsOf({})).toEqual([]);
  });

  it('names the fields of a secret', () => {
    const config = {
      url: 'https://{secret.host}/x',
      arguments: [{ value: '$key_1' }, { expr: "hmac(secret.app_key, 'x')" }, { value: 'plain' }],
      shared: { app_key: '***' },
    };
    expect(fieldsRead(config)).toEqual(['host', 'key_1']);
  });

  it('knows when a person has to authorize', () => {
    expect(needsPerson({ authorize: {} })).toBe(true);
    expect(needsPerson({ grant: { name: 'authorization_code' } })).toBe(true);
    expect(needsPerson({ authorize: {}, unattended: true })).toBe(false);
    expect(needsPerson({ url: 'x' })).toBe(false);
  });

  it('lays the realm over its preset', () => {
    const config = withPreset({ preset: 'shop', shared: { app_id: 'A' } }, preset);
    expect(config).toMatchObject({ api: 'https://a.example', shared: { scope: 'all', app_id: 'A' } });
  });
});

describe('the JSON of an expert', () => {
  it('must be an object', () => {
    expect(parseConfig('{"url":"x"}')).toEqual({ config: { url: 'x' } });
    for (const text of ['[]', 'null', '3', '"x"']) expect(parseConfig(text)).toHaveProperty('error');
  });

  it('is refused without quoting it', () => {
    const result = parseConfig('{\n  "shared": CANARY\n}');
    expect(result).toHaveProperty('error');
    expect(JSON.stringify(result)).not.toContain('CANARY');
  });

  it('has the field of an error on a line', () => {
    const text = JSON.stringify({ url: 'x', arguments: [{ name: 'a', place: 'b' }] }, null, 2);
    expect(lineOfField(text, 'config.url')).toBe(2);
    expect(lineOfField(text, 'config.arguments[0].place')).toBe(6);
    expect(lineOfField(text, 'config.nothing')).toBe(0);
    expect(lineOfField('{', 'config.url')).toBe(0);
  });
});

it('knows which fields have more than one line', () => {
  expect(['private_key', 'rsa_key', 'certificate', 'tls_cert'].every(isMultiLine)).toBe(true);
  expect(['app_key', 'appsecret', 'key_1'].some(isMultiLine)).toBe(false);
});
