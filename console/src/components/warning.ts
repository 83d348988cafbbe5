/** A warning of the API: `warning.<kind>` of the namespace common says it. */
export interface Warning {
  kind: 'missing' | 'unread' | 'unread_near' | 'unfit' | 'other';
  values: { field?: string; near?: string; unfit?: string; key?: string };
}

/** Finds what a warning is about. It has no code, and is known by its form; that of a newer server may be another one. */
export function readWarning(text: string): Warning {
  const [, unfit = '', key = ''] = /^(\d+) of .* cannot be used with the realm, such as (.+?): /.exec(text) ?? [];
  if (unfit !== '') return { kind: 'unfit', values: { unfit, key } };
  const [, field = '', rest = ''] = /^fields\.([^:]+): (.*)$/.exec(text) ?? [];
  if (rest.startsWith('is missing')) return { kind: 'missing', values: { field } };
  if (!rest.startsWith('nothing in the realm reads it')) return { kind: 'other', values: {} };
  const near = /did you mean '(.+)'\?$/.exec(rest)?.[1];
  return near === undefined ? { kind: 'unread', values: { field } } : { kind: 'unread_near', values: { field, near } };
}
