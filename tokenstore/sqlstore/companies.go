package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const companyColumns = "id, taxpayer_id, company_name, company_phone, company_registered_address," +
	" bank_name, bank_account, accounts, created_at, updated_at"

// Company implements tokenstore.CompanyStore.
func (s *Store) Company(ctx context.Context, taxpayerID string) (tokenstore.Company, error) {
	var c tokenstore.Company
	err := s.read(ctx, "read company", func(db *sql.DB) (err error) {
		c, err = scanCompany(db.QueryRowContext(ctx, "SELECT "+companyColumns+" FROM tokens_companies WHERE taxpayer_id = ?", []byte(taxpayerID)))
		return err
	})
	return c, err
}

// Companies implements tokenstore.CompanyStore.
func (s *Store) Companies(ctx context.Context, page tokenstore.Page, keyword string) ([]tokenstore.Company, int, error) {
	var list []tokenstore.Company
	total := 0
	err := s.read(ctx, "list companies", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if keyword != "" {
			where, args = " WHERE INSTR(search, ?) > 0", []any{fold(keyword)}
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_companies"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + companyColumns + " FROM tokens_companies" + where + " ORDER BY updated_at DESC, id DESC LIMIT ? OFFSET ?"
		rows, err := db.QueryContext(ctx, query, append(args, limits(page)...)...) // #nosec G202 -- constants
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			c, err := scanCompany(rows)
			if cannotBeOpened(err) {
				c = tokenstore.Company{ID: c.ID, TaxpayerID: c.TaxpayerID, Damaged: true}
			} else if err != nil {
				return err
			}
			list = append(list, c)
		}
		return rows.Err()
	})
	return list, total, err
}

// UpdateCompany implements tokenstore.CompanyStore. No node keeps companies, so
// that none has to be told.
func (s *Store) UpdateCompany(ctx context.Context, taxpayerID string, change func(c tokenstore.Company, found bool) (tokenstore.Company, error)) (tokenstore.Company, error) {
	var saved tokenstore.Company
	err := s.write(ctx, "save company", realm.Ref{}, func(tx *txn) error {
		query := "SELECT " + companyColumns + " FROM tokens_companies WHERE taxpayer_id = ?" + tx.dialect.forUpdate()
		old, err := scanCompany(tx.QueryRowContext(ctx, query, []byte(taxpayerID)))
		found := !errors.Is(err, tokenstore.ErrCompanyNotFound)
		if err != nil && found {
			return err
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		id, created := old.ID, old.CreatedAt
		if !found {
			old, created = tokenstore.Company{TaxpayerID: taxpayerID}, now
		}
		if saved, err = change(old, found); err != nil {
			return finalError{err}
		}
		saved.ID, saved.TaxpayerID, saved.CreatedAt, saved.UpdatedAt = id, taxpayerID, created, now
		return putCompany(ctx, tx, &saved)
	})
	if err != nil {
		return tokenstore.Company{}, err
	}
	return saved, nil
}

// DeleteCompany implements tokenstore.CompanyStore.
func (s *Store) DeleteCompany(ctx context.Context, taxpayerID string) error {
	return s.write(ctx, "delete company", realm.Ref{}, func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_companies WHERE taxpayer_id = ?", []byte(taxpayerID))
		return expectRow(res, err, tokenstore.ErrCompanyNotFound)
	})
}

// putCompany writes a company whose row the transaction holds, and gives a new
// one its id.
func putCompany(ctx context.Context, tx *txn, c *tokenstore.Company) error {
	if len(c.Accounts) == 0 {
		c.Accounts = nil // as it will be read
	}
	accounts, err := marshal(c.Accounts)
	if err != nil {
		return err
	}
	values := []any{
		c.Name, c.Phone, c.RegisteredAddress, c.BankName, c.BankAccount, string(accounts), fold(c.TaxpayerID + "\x00" + c.Name),
		tx.dialect.stamp(c.CreatedAt), tx.dialect.stamp(c.UpdatedAt), []byte(c.TaxpayerID),
	}
	if c.ID != 0 {
		_, err = tx.ExecContext(ctx, "UPDATE tokens_companies SET company_name = ?, company_phone = ?, company_registered_address = ?,"+
			" bank_name = ?, bank_account = ?, accounts = ?, search = ?, created_at = ?, updated_at = ? WHERE taxpayer_id = ?", values...)
		return err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO tokens_companies (company_name, company_phone, company_registered_address,"+
		" bank_name, bank_account, accounts, search, created_at, updated_at, taxpayer_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values...)
	if err != nil {
		return err
	}
	c.ID, err = res.LastInsertId()
	return err
}

func scanCompany(from row) (tokenstore.Company, error) {
	var c tokenstore.Company
	var accounts []byte
	var created, updated instant
	err := from.Scan(&c.ID, &c.TaxpayerID, &c.Name, &c.Phone, &c.RegisteredAddress, &c.BankName, &c.BankAccount, &accounts, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return c, finalError{tokenstore.ErrCompanyNotFound}
	}
	if err != nil {
		return c, err
	}
	if json.Unmarshal(accounts, &c.Accounts) != nil {
		return c, finalError{fmt.Errorf("accounts of company %d: %w", c.ID, tokenstore.ErrDamaged)}
	}
	c.CreatedAt, c.UpdatedAt = created.Time, updated.Time
	return c, nil
}
