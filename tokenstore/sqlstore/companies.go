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

const companyColumns = "t.id, t.taxpayer_id, t.company_name, t.company_phone, t.company_registered_address," +
	" t.bank_name, t.bank_account, t.accounts, t.created_at, t.updated_at, t.seal, t.version"

// Company implements tokenstore.CompanyStore.
func (s *Store) Company(ctx context.Context, taxpayerID string) (tokenstore.Company, error) {
	var c tokenstore.Company
	err := s.read(ctx, "read company", func(db *sql.DB) error {
		asked, register := s.ask(companyRow(taxpayerID)), registerCells{}
		query := "SELECT " + companyColumns + ", " + registerColumns + " FROM tokens_companies t" + registerJoin + " WHERE t.taxpayer_id = ?"
		found, version, err := s.scanCompany(db.QueryRowContext(ctx, query, append(asked.args(), []byte(taxpayerID))...), register.dest()...)
		if err != nil {
			return err
		}
		c = found
		return s.verify(asked, version, register, "company "+taxpayerID)
	})
	if err != nil {
		return tokenstore.Company{}, err
	}
	return c, nil
}

// Companies implements tokenstore.CompanyStore.
func (s *Store) Companies(ctx context.Context, page tokenstore.Page, keyword string) ([]tokenstore.Company, int, error) {
	var list []tokenstore.Company
	var versions []int64
	total := 0
	err := s.read(ctx, "list companies", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if keyword != "" {
			where, args = " WHERE INSTR(search, ?) > 0", []any{fold(keyword)}
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_companies"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + companyColumns + " FROM tokens_companies t" + where + " ORDER BY updated_at DESC, id DESC LIMIT ? OFFSET ?"
		rows, err := db.QueryContext(ctx, query, append(args, limits(page)...)...) // #nosec G202 -- constants
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			c, version, err := s.scanCompany(rows)
			if cannotBeOpened(err) {
				c = tokenstore.Company{ID: c.ID, TaxpayerID: c.TaxpayerID, Damaged: true}
			} else if err != nil {
				return err
			}
			list, versions = append(list, c), append(versions, version)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, 0, err
	}
	err = s.verifyList(ctx, len(list), func(i int, newest map[rowID]int64) error {
		old := list[i]
		if old.Damaged || isNewest(newest, companyRow(old.TaxpayerID), versions[i]) {
			return nil
		}
		c, err := s.Company(ctx, old.TaxpayerID)
		if cannotBeOpened(err) {
			c, err = tokenstore.Company{ID: old.ID, TaxpayerID: old.TaxpayerID, Damaged: true}, nil
		}
		if err == nil {
			list[i] = c
		}
		return err
	})
	return list, total, err
}

// UpdateCompany implements tokenstore.CompanyStore. No node keeps companies, so
// that none has to be told.
func (s *Store) UpdateCompany(ctx context.Context, taxpayerID string, change func(c tokenstore.Company, found bool) (tokenstore.Company, error)) (tokenstore.Company, error) {
	var saved tokenstore.Company
	err := s.change(ctx, "save company", realm.Ref{}, taxpayerID, func(tx *txn) error {
		query := "SELECT " + companyColumns + " FROM tokens_companies t WHERE t.taxpayer_id = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanCompany(tx.QueryRowContext(ctx, query, []byte(taxpayerID)))
		found := !errors.Is(err, tokenstore.ErrCompanyNotFound)
		if err != nil && found {
			return err
		}
		tx.created = !found
		l, err := s.lockLedger(ctx, tx, companyRow(taxpayerID))
		if err != nil {
			return err
		}
		if found {
			if err := l.check(companyRow(taxpayerID), version, "company "+taxpayerID); err != nil {
				return err
			}
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
		if err := s.putCompany(ctx, tx, &saved, l.version); err != nil {
			return err
		}
		return l.save(ctx, tx, companyRow(taxpayerID))
	})
	if err != nil {
		return tokenstore.Company{}, err
	}
	return saved, nil
}

// DeleteCompany implements tokenstore.CompanyStore.
func (s *Store) DeleteCompany(ctx context.Context, taxpayerID string) error {
	return s.change(ctx, "delete company", realm.Ref{}, taxpayerID, func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_companies WHERE taxpayer_id = ?", []byte(taxpayerID))
		if err := expectRow(res, err, tokenstore.ErrCompanyNotFound); err != nil {
			return err
		}
		return s.forgetRows(ctx, tx, companyRow(taxpayerID))
	})
}

// putCompany writes a company whose row the transaction holds, and gives a new
// one its id. Its seal holds nothing; it covers all columns except the id,
// which the database gives, and search.
func (s *Store) putCompany(ctx context.Context, tx *txn, c *tokenstore.Company, version int64) error {
	if len(c.Accounts) == 0 {
		c.Accounts = nil // as it will be read
	}
	accounts, err := marshal(c.Accounts)
	if err != nil {
		return err
	}
	seal, keyID, err := s.sealPlain(companyAD(*c, version, accounts), nil)
	if err != nil {
		return err
	}
	values := []any{
		seal, keyID, version, c.Name, c.Phone, c.RegisteredAddress, c.BankName, c.BankAccount, string(accounts), fold(c.TaxpayerID + "\x00" + c.Name),
		tx.dialect.stamp(c.CreatedAt), tx.dialect.stamp(c.UpdatedAt), []byte(c.TaxpayerID),
	}
	if c.ID != 0 {
		_, err = tx.ExecContext(ctx, "UPDATE tokens_companies SET seal = ?, key_id = ?, version = ?, company_name = ?, company_phone = ?, company_registered_address = ?,"+
			" bank_name = ?, bank_account = ?, accounts = ?, search = ?, created_at = ?, updated_at = ? WHERE taxpayer_id = ?", values...)
		return err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO tokens_companies (seal, key_id, version, company_name, company_phone, company_registered_address,"+
		" bank_name, bank_account, accounts, search, created_at, updated_at, taxpayer_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values...)
	if err != nil {
		return err
	}
	c.ID, err = res.LastInsertId()
	return err
}

// scanCompany reads a row, and what comes behind it into further, and verifies
// its seal.
func (s *Store) scanCompany(from row, further ...any) (tokenstore.Company, int64, error) {
	var c tokenstore.Company
	var accounts, seal []byte
	var created, updated instant
	var version int64
	dest := []any{
		&c.ID, &c.TaxpayerID, &c.Name, &c.Phone, &c.RegisteredAddress, &c.BankName, &c.BankAccount, &accounts, &created, &updated, &seal, &version,
	}
	err := from.Scan(append(dest, further...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return c, 0, finalError{tokenstore.ErrCompanyNotFound}
	}
	if err != nil {
		return c, 0, err
	}
	c.CreatedAt, c.UpdatedAt = created.Time, updated.Time
	if _, err := s.keys.Open(companyAD(c, version, accounts), seal); err != nil {
		return c, version, finalError{err}
	}
	if json.Unmarshal(accounts, &c.Accounts) != nil {
		return c, version, finalError{fmt.Errorf("accounts of company %d: %w", c.ID, tokenstore.ErrDamaged)}
	}
	return c, version, nil
}

func companyAD(c tokenstore.Company, version int64, accounts []byte) tokenstore.AD {
	return tokenstore.AD{
		Column: companyLabel, Ref: realm.Ref{Key: c.TaxpayerID}, Version: version,
		Row: inClear(c.Name, c.Phone, c.RegisteredAddress, c.BankName, c.BankAccount, accounts, c.CreatedAt, c.UpdatedAt),
	}
}
