import { getJSON, type Page, sendJSON } from '../../api/client';
import { pathOf, withQuery } from '../../api/path';

export const texts = ['company_name', 'company_phone', 'company_registered_address', 'bank_name', 'bank_account'] as const;

export type Company = Record<(typeof texts)[number], string> & {
  id?: number;
  taxpayer_id: string;
  // accounts are the keys of its secrets, by the id of their realm.
  accounts: Record<string, string>;
  created_at?: string;
  updated_at?: string;
  damaged?: boolean;
};

// Row is an account while somebody writes it.
export interface Row {
  realm: string;
  key: string;
}

export const companyPath = (id: string) => pathOf('company', id);

export const listCompanies = (page: number, pageSize: number, keyword: string, signal?: AbortSignal) =>
  getJSON<Page<Company>>(withQuery('api/company', { page, pageSize, keyword }), signal);
export const getCompany = (id: string, signal?: AbortSignal) => getJSON<Company>(companyPath(id), signal);
export const deleteCompany = (id: string) => sendJSON('DELETE', companyPath(id));

// bodyOf is what is sent for a change. The API keeps accounts that are not named,
// so that those which were removed are named with null.
export function bodyOf(company: Company, rows: Row[], before: Company | undefined) {
  const accounts: Record<string, string | null> = {};
  for (const realm of Object.keys(before?.accounts ?? {})) accounts[realm] = null;
  for (const { realm, key } of rows) accounts[realm] = key;
  const body: Record<string, unknown> = { taxpayer_id: company.taxpayer_id, accounts };
  for (const name of texts) body[name] = company[name];
  return body;
}

export const saveCompany = (company: Company, rows: Row[], before: Company | undefined) =>
  sendJSON<Company>('POST', 'api/company', bodyOf(company, rows, before));

// rowFault is what is wrong with the accounts.
export function rowFault(rows: Row[], i: number): 'realm' | 'key' | 'twice' | undefined {
  const row = rows[i]!;
  if (!row.realm) return 'realm';
  if (rows.findIndex((r) => r.realm === row.realm) !== i) return 'twice';
  return row.key ? undefined : 'key';
}

// idFault is what is wrong with a taxpayer id.
export function idFault(id: string): 'idMissing' | 'idWrong' | undefined {
  if (id === '') return 'idMissing';
  return new TextEncoder().encode(id).length > 64 || /[\s\u0000-\u001f\u007f]/.test(id) ? 'idWrong' : undefined;
}
