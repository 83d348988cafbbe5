import { describe, expect, it } from 'vitest';
import { decodeFile, parseTable } from './csv';

const cells = (text: string) => parseTable(text).rows.map((r) => r.cells);

describe('parseTable', () => {
  it('reads commas, tabs and semicolons', () => {
    for (const s of [',', '\t', ';']) {
      const table = parseTable(`key${s}appid${s}appsecret\na${s}1${s}2\nb${s}3${s}4`);
      expect(table.separator).toBe(s);
      expect(table.header).toEqual(['key', 'appid', 'appsecret']);
      expect(table.rows).toEqual([
        { line: 2, cells: ['a', '1', '2'] },
        { line: 3, cells: ['b', '3', '4'] },
      ]);
    }
  });

  it('takes the separator that stands outside of quotation marks', () => {
    expect(parseTable('"a,b,c";d\n1;2').header).toEqual(['a,b,c', 'd']);
  });

  it('takes Excel at its word', () => {
    const table = parseTable('sep=;\r\nkey;a\r\nx;"1,2"');
    expect(table.header).toEqual(['key', 'a']);
    expect(table.rows).toEqual([{ line: 3, cells: ['x', '1,2'] }]);
  });

  it('ends lines with CRLF, LF and CR', () => {
    expect(cells('key,a\r\nx,1\ny,2\rz,3\r\n')).toEqual([
      ['x', '1'],
      ['y', '2'],
      ['z', '3'],
    ]);
  });

  it('skips a byte order mark and empty lines', () => {
    const table = parseTable('\uFEFFkey,a\n\n , \nx,1\n\n');
    expect(table.header[0]).toBe('key');
    expect(table.rows).toEqual([{ line: 4, cells: ['x', '1'] }]);
  });

  it('keeps separators, line breaks and doubled marks within quotation marks', () => {
    const table = parseTable('key,pem,x\na,"-----BEGIN\nAB,C""D""\n-----END\n",1\nb,2,3');
    expect(table.rows).toEqual([
      { line: 2, cells: ['a', '-----BEGIN\nAB,C"D"\n-----END\n', '1'] },
      { line: 6, cells: ['b', '2', '3'] },
    ]);
  });

  it('keeps blanks within quotation marks and drops them elsewhere', () => {
    expect(cells('key,a,b\nx,  1  ," 2 " \n')).toEqual([['x', '1', ' 2 ']]);
  });

  it('keeps a quotation mark in the middle of a cell', () => {
    expect(cells('key,a\nx,5" disk\n')).toEqual([['x', '5" disk']]);
  });

  it('keeps empty cells', () => {
    expect(cells('key,a,b\nx,,\ny,"",2')).toEqual([
      ['x', '', ''],
      ['y', '', '2'],
    ]);
  });

  it('tells where a quotation mark is never closed', () => {
    expect(parseTable('key,a\nx,1\ny,"2\nz,3').openQuote).toBe(3);
    expect(parseTable('key,a\nx,"1"').openQuote).toBe(0);
  });

  it('reads nothing out of nothing', () => {
    expect(parseTable('')).toMatchObject({ header: [], rows: [] });
  });
});

describe('decodeFile', () => {
  it('reads UTF-8, UTF-16 and GB 18030', () => {
    expect(decodeFile(new TextEncoder().encode('密钥'))).toBe('密钥');
    expect(decodeFile(new Uint8Array([0xff, 0xfe, 0xc6, 0x5b]))).toBe('密');
    expect(decodeFile(new Uint8Array([0xfe, 0xff, 0x5b, 0xc6]))).toBe('密');
    expect(decodeFile(new Uint8Array([0xc3, 0xdc, 0xd4, 0xbf]))).toBe('密钥');
  });
});
