import type { AuditEntry } from './filter';

// columns are those of the CSV file, in the order of the API's fields.
const columns = [
  'id',
  'time',
  'node',
  'seq',
  'actor_kind',
  'actor_id',
  'address',
  'act',
  'realm',
  'key',
  'target',
  'result',
  'code',
  'detail',
  'count',
] as const;

// csvHead is the first line. The mark in front of it tells Excel that the file is
// UTF-8; without it, Chinese names become gibberish.
export const csvHead = '\ufeff' + columns.join(',') + '\r\n';

// csvLine is the line of an entry.
export function csvLine(e: AuditEntry): string {
  const values: Record<(typeof columns)[number], string | number | undefined> = {
    id: e.id,
    time: e.time,
    node: e.node,
    seq: e.seq,
    actor_kind: e.actor.kind,
    actor_id: e.actor.id,
    address: e.address,
    act: e.act,
    realm: e.realm,
    key: e.key,
    target: e.target,
    result: e.result,
    code: e.code,
    detail: e.detail,
    count: e.count ?? 1,
  };
  return columns.map((name) => csvCell(values[name])).join(',') + '\r\n';
}

// csvCell writes one value (RFC 4180).
//
// Anybody can choose some of these texts: the id of a client, the path of a
// refused request. A spreadsheet runs what begins like a formula, so that such
// a text gets an apostrophe in front, which makes it text (OWASP, "CSV
// Injection"). Blanks in front do not help: spreadsheets skip them. The
// full-width signs count, too: Excel reads them as the plain ones in Chinese and
// Japanese.
export function csvCell(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[\s\u0000]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
