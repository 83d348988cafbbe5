import { csvMark, csvRow } from '../../components/csv';
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

// csvHead is the first line.
export const csvHead = csvMark + csvRow([...columns]);

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
  return csvRow(columns.map((name) => values[name]));
}
