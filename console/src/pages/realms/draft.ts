import type { Schemas } from '../../api/client';

export type Words = Schemas['PresetText'];
export type PresetField = Schemas['PresetField'];

/** The config of a realm. The console reads a few of its fields; it hands on the others as they are. */
export type Config = Record<string, unknown>;

export type Preset = Omit<Schemas['Preset'], 'config'> & { config: Config };

/** What a person has typed into the form of a new realm. */
export interface Draft {
  id: string;
  comment: string;
  /** The key of the first secret; empty where none is made. */
  key: string;
  /** Fields of the realm and of the first secret, by name. */
  values: Record<string, string>;
  injectOnly: boolean;
  isDefaultKey: boolean;
  /** The config as an expert wrote it; null where the form makes it. */
  config: Config | null;
}

export interface RealmBody {
  id: string;
  comment?: string;
  config: Config;
}

export interface SecretBody {
  realm: string;
  key: string;
  fields: Record<string, string>;
}

export interface FieldGroups {
  /** Asked for, and kept with the realm: they belong to the app. */
  app: PresetField[];
  /** Asked for, and kept with the secret. */
  secret: PresetField[];
  /** What has a default, comes by itself, or is seldom needed. */
  optional: PresetField[];
}

/** Sorts the fields of a preset by where a form asks for them. */
export function groupFields(fields: PresetField[]): FieldGroups {
  const isOptional = (f: PresetField) => !f.required || f.pushed === true || f.default !== undefined;
  return {
    app: fields.filter((f) => f.shared && !isOptional(f)),
    secret: fields.filter((f) => !f.shared && !isOptional(f)),
    optional: fields.filter(isOptional),
  };
}

/** Reports whether the field has more than one line, as keys and certificates in PEM do. */
export function isMultiLine(name: string): boolean {
  return /(^|_)(private_key|rsa_key|certificate|cert|pem)$/.test(name);
}

/** The body of POST /api/realm that a draft makes. */
export function realmBody(draft: Draft, preset: Preset | null): RealmBody {
  const body: RealmBody = { id: draft.id.trim(), config: configOf(draft, preset) };
  if (draft.comment.trim() !== '') body.comment = draft.comment.trim();
  return body;
}

/**
 * The config of a draft. What an expert wrote is taken as it is; the values of
 * the form are added to it, so that nobody has to write a credential in clear.
 */
function configOf(draft: Draft, preset: Preset | null): Config {
  const config: Config = { ...(draft.config ?? formConfig(draft, preset)) };
  const typed = pick(
    draft.values,
    (preset?.fields ?? []).filter((f) => f.shared),
  );
  const shared = { ...typed, ...(config.shared as object | undefined) };
  if (Object.keys(shared).length > 0) config.shared = shared;
  return config;
}

/** The config that the form makes, without the values of fields. */
export function formConfig(draft: Draft, preset: Preset | null): Config {
  const config: Config = {};
  if (preset) config.preset = preset.name;
  if (draft.isDefaultKey && draft.key.trim() !== '') config.default_key = draft.key.trim();
  if (draft.injectOnly) config.inject_only = true;
  return config;
}

/** The body of POST /api/secret that a draft makes; null where it names no key. */
export function secretBody(draft: Draft, preset: Preset | null): SecretBody | null {
  const key = draft.key.trim();
  if (key === '') return null;
  const own = preset ? preset.fields.filter((f) => !f.shared) : Object.keys(draft.values).map(plainField);
  return { realm: draft.id.trim(), key, fields: pick(draft.values, own) };
}

function plainField(name: string): PresetField {
  return { name, required: false, confidential: true, help: { en: '', zh: '' } };
}

function pick(values: Record<string, string>, fields: PresetField[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const { name } of fields) {
    const value = values[name];
    if (value !== undefined && value.trim() !== '') picked[name] = isMultiLine(name) ? value : value.trim();
  }
  return picked;
}

/**
 * The bodies as a page may show them: "<appsecret>" stands for each value that
 * is confidential, and for each of a field that no preset knows.
 */
export function shown<T extends RealmBody | SecretBody>(body: T, preset: Preset | null): T {
  const open = new Set((preset?.fields ?? []).filter((f) => !f.confidential).map((f) => f.name));
  const hide = (values: unknown) =>
    Object.fromEntries(
      Object.entries((values ?? {}) as Record<string, unknown>).map(([name, value]) => [
        name,
        open.has(name) ? value : `<${name}>`,
      ]),
    );
  if ('fields' in body) return { ...body, fields: hide(body.fields) };
  const config = body.config;
  return config.shared === undefined ? body : { ...body, config: { ...config, shared: hide(config.shared) } };
}

/** The realms whose tokens a config takes: {token_of.wechat}, {token_of.wechat.main}. */
export function parentsOf(config: Config): string[] {
  const names = JSON.stringify(config).matchAll(/\{token_of\.([^.{}"\\]+)/g);
  return [...new Set([...names].map((match) => match[1] ?? ''))];
}

/** The fields of a secret that a config reads: {secret.x}, $x and the "secret.x" of an expression. */
export function fieldsRead(config: Config): string[] {
  const names = new Set<string>();
  const collect = (value: unknown): void => {
    if (typeof value === 'string') {
      for (const match of value.matchAll(/\bsecret\.([A-Za-z0-9_-]+)/g)) names.add(match[1] ?? '');
      const whole = /^\$(\w+)$/.exec(value);
      if (whole?.[1]) names.add(whole[1]);
    } else if (value !== null && typeof value === 'object') Object.values(value).forEach(collect);
  };
  collect(config);
  const shared = (config.shared ?? {}) as Record<string, unknown>;
  return [...names].filter((name) => !(name in shared));
}

/** Reports whether a person has to authorize before the realm has a token. */
export function needsPerson(config: Config): boolean {
  const grant = config.grant as { name?: string } | undefined;
  return !config.unattended && (config.authorize !== undefined || grant?.name === 'authorization_code');
}

/** What the realm says with its preset behind it, field by field. */
export function withPreset(config: Config, preset: Preset | null | undefined): Config {
  if (!preset) return config;
  return {
    ...preset.config,
    ...config,
    shared: { ...(preset.config.shared as object | undefined), ...(config.shared as object | undefined) },
  };
}

/** Parses what an expert wrote. The message names the line where JSON knows it. */
export function parseConfig(text: string): { config: Config } | { error: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return { error: '{ }' };
    return { config: value as Config };
  } catch (error) {
    return { error: placeOf(text, error) };
  }
}

function placeOf(text: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // Browsers quote what stands at the place of the error; it may be a value.
  const position = /position (\d+)/.exec(message)?.[1];
  const line = /line (\d+)/.exec(message)?.[1];
  if (line !== undefined) return line;
  return position === undefined ? '' : String(text.slice(0, Number(position)).split('\n').length);
}

/**
 * Finds the line of a JSON text on which the value of a path such as
 * config.arguments[0].place begins; 0 if the path is not in the text.
 */
export function lineOfField(text: string, field: string): number {
  const path = field.replace(/^config\.?/, '').match(/[^.[\]]+/g) ?? [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 0;
  }
  // A mark takes the place of the value; where it stands in the text of the
  // same layout is where the value stands in the one that was typed, so far as
  // that is laid out in the usual way.
  const mark = '\u0000here';
  const copy: unknown = structuredClone(value);
  let at = copy as Record<string, unknown>;
  for (const name of path.slice(0, -1)) {
    const next = at[name];
    if (next === null || typeof next !== 'object') return 0;
    at = next as Record<string, unknown>;
  }
  const last = path[path.length - 1];
  if (last === undefined || at === null || typeof at !== 'object' || !(last in at)) return 0;
  if (JSON.stringify(value, null, 2) !== text.trim()) return 0;
  at[last] = mark;
  const before = JSON.stringify(copy, null, 2).split(JSON.stringify(mark))[0] ?? '';
  return before.split('\n').length;
}
