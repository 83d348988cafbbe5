import { linesOf } from '../../api/lines';
import { csvHead, csvLine } from './csv';
import type { AuditEntry } from './filter';

export type Format = 'ndjson' | 'csv';

// piece is how much text is gathered before it becomes a part of the file. The
// browser may put parts on the disk; a million strings it could not.
const piece = 1 << 20;

// collect reads entries line by line and makes a file of them. The lines of
// NDJSON are those of the API, byte for byte.
export async function collect(answer: Response, format: Format, onCount: (count: number) => void): Promise<Blob> {
  const parts: Blob[] = [];
  let text = format === 'csv' ? csvHead : '';
  let count = 0;
  for await (const line of linesOf(answer)) {
    if (line === '') continue;
    // Also for NDJSON: what is cut within a line is no JSON, and no file comes of it.
    const entry = JSON.parse(line) as AuditEntry;
    text += format === 'csv' ? csvLine(entry) : line + '\n';
    count++;
    if (count % 200 === 0) onCount(count);
    if (text.length >= piece) {
      parts.push(new Blob([text]));
      text = '';
    }
  }
  onCount(count);
  parts.push(new Blob([text]));
  return new Blob(parts, { type: format === 'csv' ? 'text/csv;charset=utf-8' : 'application/x-ndjson' });
}

// fileName names the file by the time of the export.
export function fileName(format: Format, now: Date): string {
  return `audit-${now.toISOString().slice(0, 19).replaceAll(':', '')}Z.${format}`;
}

// save hands a file to the browser, which puts it among the downloads.
export function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The download has begun by then, and holds the file itself.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
