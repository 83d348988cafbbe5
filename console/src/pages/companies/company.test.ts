import { expect, test } from 'vitest';
import { bodyOf, idFault, rowFault, type Company } from './company';

const company: Company = {
  taxpayer_id: '91',
  company_name: 'Acme',
  company_phone: '',
  company_registered_address: '',
  bank_name: '',
  bank_account: '',
  accounts: { jd: 'a', sn: 'b' },
};

test('accounts that were removed are sent as null', () => {
  expect(bodyOf(company, [{ realm: 'jd', key: 'c' }], company)).toMatchObject({
    taxpayer_id: '91',
    accounts: { jd: 'c', sn: null },
  });
  expect(bodyOf(company, [], undefined)).toMatchObject({ accounts: {} });
});

test('what is wrong with accounts and ids', () => {
  const rows = [
    { realm: 'jd', key: 'a' },
    { realm: 'jd', key: 'b' },
    { realm: '', key: '' },
    { realm: 'sn', key: '' },
  ];
  expect(rows.map((_, i) => rowFault(rows, i))).toEqual([undefined, 'twice', 'realm', 'key']);
  expect(['', '91', 'a b', 'x'.repeat(65)].map(idFault)).toEqual(['idMissing', undefined, 'idWrong', 'idWrong']);
});
