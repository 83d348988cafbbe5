// csvMark begins a file. It tells Excel that the file is UTF-8; without it, Chinese
// names become gibberish.
export const csvMark = '\ufeff';

type Value = string | number | undefined;

// csvRow writes one line (RFC 4180), as spreadsheets read it.
export function csvRow(values: Value[]): string {
  return values.map(csvCell).join(',') + '\r\n';
}

// csvCell writes one value.
//
// Anybody can choose some of these texts: the id of a client, the path of a
// refused request, the key of a secret, the words of a provider. A spreadsheet
// runs what begins like a formula, so that such a text gets an apostrophe in
// front, which makes it text (OWASP, "CSV Injection"). Blanks in front do not
// help: spreadsheets skip them. The full-width signs count, too: Excel reads them
// as the plain ones in Chinese and Japanese.
//
// Semicolons and tabs are quoted like commas: in some languages a spreadsheet
// takes them for separators, and the import of secrets finds out which one it is.
export function csvCell(value: Value): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[\s\u0000]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(value) ? "'" + value : value;
  return /[",;\t\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
