/** One line of a table, with the number of the line on which it begins. */
export interface Row {
  line: number;
  cells: string[];
}

/** What a pasted or chosen table holds. */
export interface Table {
  separator: string;
  header: string[];
  rows: Row[];
  /** The line whose quotation mark is never closed; 0 where all are. */
  openQuote: number;
}

const SEPARATORS = [',', '\t', ';'];

/**
 * Reads a table of values separated by commas, tabs or semicolons (RFC 4180).
 * A cell in quotation marks may hold separators, line breaks and doubled
 * quotation marks, and keeps its blanks; any other cell loses those around it,
 * because they come from copying and make a credential wrong.
 */
export function parseTable(text: string): Table {
  const { separator, start, line } = findSeparator(text.replace(/^\uFEFF/, ''));
  const rows: Row[] = [];
  let row: Row = { line, cells: [] };
  let cell = '';
  let quoted = false;
  let inQuotes = false;
  let openedAt = 0;
  let at = line;

  const endCell = () => {
    row.cells.push(quoted ? cell : cell.trim());
    cell = '';
    quoted = false;
  };
  const endRow = () => {
    endCell();
    // A line of nothing but separators is what a spreadsheet leaves behind.
    if (row.cells.some((c) => c !== '')) rows.push(row);
    row = { line: at, cells: [] };
  };

  for (let i = 0; i < start.length; i++) {
    const c = start[i] ?? '';
    if (inQuotes) {
      if (c === '\n') at++;
      if (c !== '"') cell += c;
      else if (start[i + 1] === '"') {
        cell += c;
        i++;
      } else inQuotes = false;
    } else if (c === '"' && cell.trim() === '' && !quoted) {
      cell = '';
      quoted = true;
      inQuotes = true;
      openedAt = at;
    } else if (c === separator) endCell();
    else if (c === '\n' || c === '\r') {
      if (c === '\r' && start[i + 1] === '\n') i++;
      at++;
      endRow();
    } else if (!quoted || c.trim() !== '') cell += c;
  }
  if (cell !== '' || quoted || row.cells.length > 0) endRow();

  const header = rows.shift()?.cells ?? [];
  return { separator, header, rows, openQuote: inQuotes ? openedAt : 0 };
}

/**
 * Finds the separator: the one that the first line with anything in it has most
 * often outside of quotation marks. A line "sep=;", by which Excel names it, is
 * taken at its word and left out.
 */
function findSeparator(text: string): { separator: string; start: string; line: number } {
  const named = /^sep=([,;\t])(\r\n|\r|\n)/i.exec(text);
  if (named?.[1]) return { separator: named[1], start: text.slice(named[0].length), line: 2 };
  const counts = new Map(SEPARATORS.map((s) => [s, 0]));
  let inQuotes = false;
  for (const c of text.trimStart()) {
    if (c === '"') inQuotes = !inQuotes;
    else if (!inQuotes && (c === '\n' || c === '\r')) break;
    else if (!inQuotes && counts.has(c)) counts.set(c, counts.get(c)! + 1);
  }
  const separator = SEPARATORS.reduce((best, s) => (counts.get(s)! > counts.get(best)! ? s : best));
  return { separator, start: text, line: 1 };
}

/**
 * Decodes a file. Spreadsheets save UTF-8, UTF-16 ("Unicode text") or, in
 * China, GB 18030 without saying so; what is no UTF-8 is taken for the latter.
 */
export function decodeFile(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('gb18030').decode(bytes);
  }
}
