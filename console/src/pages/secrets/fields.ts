import { type Config, type Preset, type PresetField, withPreset } from '../realms/draft';
import { usePreset, useRealm } from '../realms/api';
import type { Secret } from './api';

export interface RealmFields {
  /** The fields that a secret of the realm may have; in the preset's order. */
  fields: PresetField[];
  /** The names of the fields that the realm has already. */
  given: string[];
  volatile: string[];
  config: Config;
  preset: Preset | undefined;
}

/** The fields that secrets of a realm have: those of its preset, and what else the realm reads. */
export function fieldsOf(config: Config, preset: Preset | undefined, reads: string[] = []): RealmFields {
  const whole = withPreset(config, preset);
  const given = Object.keys((config.shared as object | undefined) ?? {});
  const volatile = (whole.volatile as string[] | undefined) ?? [];
  const listed = preset?.fields ?? [];
  const names = new Set(listed.map((f) => f.name));
  const own = reads.filter((name) => !names.has(name));
  return {
    fields: [...listed, ...own.map((name) => plain(name, !volatile.includes(name)))].filter((f) => !given.includes(f.name)),
    given,
    volatile,
    config: whole,
    preset,
  };
}

/** A field that only its name is known of. It is taken for confidential. */
export function plain(name: string, required = false): PresetField {
  return { name, required, confidential: true, help: { en: '', zh: '' } };
}

/** The same with what the secret has beyond it. */
export function withOwn(fields: PresetField[], set: string[]): PresetField[] {
  const names = new Set(fields.map((f) => f.name));
  return [...fields, ...set.filter((name) => !names.has(name)).map((name) => plain(name))];
}

/** The names of the fields that a secret has; their values are never shown. */
export function setFields(secret: Secret): string[] {
  const numbered = Object.keys(secret).filter((name) => /^key_[1-9]\d{0,3}$/.test(name));
  return [...Object.keys(secret.fields ?? {}), ...numbered];
}

/** The fields of a realm; undefined until its config and its preset are there. */
export function useFields(realm: string): RealmFields | undefined {
  const { data } = useRealm(realm);
  const name = data?.config?.preset;
  const preset = usePreset(name);
  if (!data || (typeof name === 'string' && preset.isPending)) return undefined;
  return fieldsOf(data.config ?? {}, preset.data, data.reads);
}
