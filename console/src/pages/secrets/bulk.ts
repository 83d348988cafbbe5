import { isMultiLine, type PresetField } from '../realms/draft';
import type { Table } from './csv';

/** A secret of a table, ready to be sent. */
export interface Item {
  line: number;
  key: string;
  fields: Record<string, string>;
}

/** Something in a table that keeps a line, or all of it, from being sent. */
export interface Fault {
  /** 0 for the header. */
  line: number;
  key: string;
  /** The code names the text: fault.<code> of the namespace secrets. */
  code:
    | 'open_quote'
    | 'no_key_column'
    | 'twice_column'
    | 'no_key'
    | 'bad_key'
    | 'twice_key'
    | 'no_value'
    | 'too_many_cells';
  field?: string;
}

export interface Reading {
  /** The columns beside the key. */
  columns: string[];
  /** Columns that the preset does not know; they are sent all the same. */
  unknown: string[];
  items: Item[];
  faults: Fault[];
}

/**
 * Makes secrets of a table. A line that cannot be one becomes a fault, and the
 * others are sent; a fault of the header holds for all of them. Fields that the
 * realm has already (given) need no column.
 */
export function readSecrets(table: Table, fields: PresetField[], given: string[] = []): Reading {
  const header = table.header.map((name) => name.trim());
  const keyAt = header.findIndex((name) => name.toLowerCase() === 'key');
  const columns = header.filter((name, i) => i !== keyAt && name !== '');
  const known = new Set(fields.map((f) => f.name));
  const reading: Reading = {
    columns,
    unknown: fields.length === 0 ? [] : columns.filter((name) => !known.has(name)),
    items: [],
    faults: [],
  };
  if (table.openQuote > 0) reading.faults.push({ line: table.openQuote, key: '', code: 'open_quote' });
  else if (keyAt < 0) reading.faults.push({ line: 0, key: '', code: 'no_key_column' });
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) reading.faults.push({ line: 0, key: '', code: 'twice_column', field: twice });
  if (reading.faults.length > 0) return reading;

  const needed = fields.filter((f) => f.required && !f.pushed && f.default === undefined && !given.includes(f.name));
  const seen = new Set<string>();
  for (const { line, cells } of table.rows) {
    const item: Item = { line, key: cells[keyAt] ?? '', fields: {} };
    header.forEach((name, i) => {
      const value = cells[i] ?? '';
      if (i !== keyAt && name !== '' && value !== '') item.fields[name] = isMultiLine(name) ? value : value.trim();
    });
    const fault = faultOf(item, cells, header, needed, seen);
    if (fault) reading.faults.push({ line, key: item.key, ...fault });
    else reading.items.push(item);
    seen.add(item.key);
  }
  return reading;
}

function faultOf(
  item: Item,
  cells: string[],
  header: string[],
  needed: PresetField[],
  seen: Set<string>,
): Pick<Fault, 'code' | 'field'> | null {
  if (cells.slice(header.length).some((cell) => cell !== '')) return { code: 'too_many_cells' };
  if (item.key === '') return { code: 'no_key' };
  if (/[/\\%?\u0000-\u001f\u007f]/.test(item.key) || new TextEncoder().encode(item.key).length > 255)
    return { code: 'bad_key' };
  if (seen.has(item.key)) return { code: 'twice_key' };
  const missing = needed.find((f) => item.fields[f.name] === undefined);
  return missing ? { code: 'no_value', field: missing.name } : null;
}

/** What became of one line. */
export interface Result {
  line: number;
  key: string;
  /** held: saved, and not sent before all values are entered for the realm's new host. */
  outcome: 'saved' | 'held' | 'exists' | 'refused' | 'stopped';
  /** The code and the field of the API's refusal, or the code of a fault. */
  code?: string;
  field?: string;
  detail?: string;
  /** What the API warns of, where it was saved. */
  warnings?: string[];
}

export interface SendOptions {
  concurrency: number;
  signal: AbortSignal;
  onResult: (result: Result) => void;
}

/**
 * Sends secrets, a few at a time. After an abort nothing new is sent; what is
 * under way ends by itself, so that its result is known. Those that were not
 * sent are reported as stopped.
 */
export async function sendAll(
  items: Item[],
  send: (item: Item) => Promise<Result>,
  options: SendOptions,
): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let item = items[next++]; item; item = items[next++]) {
      options.onResult(
        options.signal.aborted ? { line: item.line, key: item.key, outcome: 'stopped' } : await send(item),
      );
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.concurrency, items.length) }, work));
}

/** The report as a table for a spreadsheet: no value of a field is in it. */
export function reportRows(results: Result[], outcomes: Record<Result['outcome'], string>): string[][] {
  const rows = [...results].sort((a, b) => a.line - b.line);
  return [
    ['line', 'key', 'result', 'code', 'field', 'detail'],
    ...rows.map((r) => [String(r.line), r.key, outcomes[r.outcome], r.code ?? '', r.field ?? '', r.detail ?? r.warnings?.join('; ') ?? '']),
  ];
}
