import { expect, test } from 'vitest';
import { parseTable } from '../pages/secrets/csv';
import { csvCell, csvMark, csvRow } from './csv';

test.each([
  ['plain', 'plain'],
  ['a,b', '"a,b"'],
  ['say "x"', '"say ""x"""'],
  ['two\nlines', '"two\nlines"'],
  ['=HYPERLINK("http://x")', '"\'=HYPERLINK(""http://x"")"'],
  ['+1', "'+1"],
  ['-1+cmd', "'-1+cmd"],
  ['@SUM(A1)', "'@SUM(A1)"],
  ['  =1', "'  =1"],
  ['\t=1', '"\'\t=1"'],
  ['a;b', '"a;b"'],
  ['a\tb', '"a\tb"'],
  ['\u0000=1', "'\u0000=1"],
  ['\u00a0@x', "'\u00a0@x"],
  ['＠x', "'＠x"],
  ["it's", "it's"],
  ['\r=1', '"\'\r=1"'],
  ['＝1', "'＝1"],
  ['a=b', 'a=b'],
  ['', ''],
  [undefined, ''],
  [-3, '-3'],
])('the cell of %j', (value, cell) => {
  expect(csvCell(value)).toBe(cell);
});

test('a row ends with CRLF, and is read back as it was', () => {
  const rows = [
    ['key', 'x', 'n'],
    ['a', 'line\nbreak', '1'],
    ['b', ' "q";,\t', ''],
  ];
  const text = csvMark + rows.map((row) => csvRow(row)).join('');
  expect(text).toContain('\r\na,"line\nbreak",1\r\n');
  const table = parseTable(text);
  expect([table.header, ...table.rows.map((r) => r.cells)]).toEqual(rows);
});
