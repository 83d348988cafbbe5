package adminapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// companyDocument is a company as it is shown.
type companyDocument struct {
	ID                int64  `json:"id"`
	Name              string `json:"company_name"`
	TaxpayerID        string `json:"taxpayer_id"`
	Phone             string `json:"company_phone"`
	RegisteredAddress string `json:"company_registered_address"`
	BankName          string `json:"bank_name"`
	BankAccount       string `json:"bank_account"`
	// Accounts are the keys of its secrets by realm.
	Accounts  map[string]string `json:"accounts"`
	CreatedAt time.Time         `json:"created_at,omitzero"`
	UpdatedAt time.Time         `json:"updated_at,omitzero"`
	Damaged   bool              `json:"damaged,omitempty"`
}

// showCompany makes the document of a company. Accounts is {} and never null:
// clients index it.
func showCompany(c tokenstore.Company) companyDocument {
	accounts := c.Accounts
	if accounts == nil {
		accounts = map[string]string{}
	}
	return companyDocument{
		ID: c.ID, Name: c.Name, TaxpayerID: c.TaxpayerID, Phone: c.Phone, RegisteredAddress: c.RegisteredAddress,
		BankName: c.BankName, BankAccount: c.BankAccount, Accounts: accounts,
		CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(), Damaged: c.Damaged,
	}
}

func (a *api) listCompanies(ctx context.Context, r *request) (any, error) {
	accounts := a.accounts.For(r.caller.refusing(access.AdminRead))
	return search(ctx, r, accounts.Companies, showCompany, func(c tokenstore.Company) bool {
		return accounts.AllowCompany(c.Accounts) == nil
	})
}

func (a *api) getCompany(ctx context.Context, r *request) (any, error) {
	c, err := a.accounts.For(r.caller.refusing(access.AdminRead)).Company(ctx, r.ids[0])
	return showCompany(c), err
}

func (a *api) saveCompany(ctx context.Context, r *request) (any, error) {
	u, err := readCompanyUpdate(r.body)
	r.target = u.TaxpayerID
	if err != nil {
		return nil, err
	}
	c, err := a.accounts.For(r.caller.refusing(access.Admin)).SaveCompany(ctx, u)
	return showCompany(c), err
}

func (a *api) deleteCompany(ctx context.Context, r *request) (any, error) {
	return done{success}, a.accounts.For(r.caller.refusing(access.Admin)).DeleteCompany(ctx, r.ids[0])
}

// accountAliases are the columns of the earlier service's table that are
// accounts now, by the id of their realm.
var accountAliases = []struct{ name, realm string }{{"jd_account", "jd"}, {"sn_account", "sn"}}

// readCompanyUpdate reads the body of POST /api/company. What the API itself
// adds to a company is accepted, so that a document can be sent back as it
// came.
func readCompanyUpdate(body []byte) (u account.CompanyUpdate, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return u, err
	}
	if u.TaxpayerID, err = o.need("taxpayer_id"); err != nil {
		return u, err
	}
	for _, f := range []struct {
		name string
		to   **string
	}{
		{"company_name", &u.Name},
		{"company_phone", &u.Phone},
		{"company_registered_address", &u.RegisteredAddress},
		{"bank_name", &u.BankName},
		{"bank_account", &u.BankAccount},
	} {
		if *f.to, err = takeText(o, f.name); err != nil {
			return u, err
		}
	}
	if err = takeAccounts(o, &u); err != nil {
		return u, err
	}
	return u, o.end("id", "created_at", "updated_at", "damaged")
}

// takeAccounts takes "accounts", of which null clears all, and the aliases.
func takeAccounts(o object, u *account.CompanyUpdate) error {
	u.Accounts = map[string]*string{}
	raw, ok := o["accounts"]
	delete(o, "accounts")
	u.ClearAccounts = ok && isNull(raw)
	if ok && !isNull(raw) {
		named, err := realm.DecodeObject(raw, "accounts")
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(named)) {
			if err := setAccount(u, "accounts."+id, id, named[id]); err != nil {
				return err
			}
		}
	}
	for _, alias := range accountAliases {
		if raw, ok := o[alias.name]; ok {
			if err := setAccount(u, alias.name, alias.realm, raw); err != nil {
				return err
			}
			delete(o, alias.name)
		}
	}
	return nil
}

// setAccount takes one account; null and "" remove it. path is where the
// caller wrote it.
func setAccount(u *account.CompanyUpdate, path, id string, raw json.RawMessage) error {
	var key *string
	if err := realm.Decode(raw, path, &key); err != nil {
		return err
	}
	if key != nil && *key == "" {
		key = nil
	}
	if other, twice := u.Accounts[id]; twice && !equal(other, key) {
		return realm.Fieldf(path, "is given twice, with two values")
	}
	u.Accounts[id] = key
	return nil
}
