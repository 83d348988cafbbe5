package account

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// maxTaxpayerID is the longest taxpayer id, in characters.
	maxTaxpayerID = 64
	// maxAccounts bounds the accounts of a company, and with them what one
	// update asks of the store.
	maxAccounts = 100
)

// CompanyUpdate is a change of a company; what is nil or absent stays, and
// what is empty is cleared.
type CompanyUpdate struct {
	TaxpayerID string

	Name, Phone, RegisteredAddress, BankName, BankAccount *string

	// Accounts to set, the key of a secret by the id of its realm; a nil
	// pointer removes one.
	Accounts map[string]*string
	// ClearAccounts removes all others.
	ClearAccounts bool
}

// AllowCompany is nil if the caller may do it to a company with these accounts:
// for each of them, and for everything if there is none.
func (s *Service) AllowCompany(accounts map[string]string) error {
	if len(accounts) == 0 {
		return s.allow(realm.Ref{})
	}
	for realmID, key := range accounts {
		if err := s.allow(realm.Ref{Realm: realmID, Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// Company returns one company. CodeCompanyNotFound.
func (s *Service) Company(ctx context.Context, taxpayerID string) (tokenstore.Company, error) {
	c, err := s.catalog.Company(ctx, taxpayerID)
	if err != nil {
		if refused := s.allow(realm.Ref{}); refused != nil {
			return tokenstore.Company{}, refused
		}
		return c, err
	}
	if err := s.AllowCompany(c.Accounts); err != nil {
		return tokenstore.Company{}, err
	}
	return c, nil
}

// Companies lists a page of the companies whose taxpayer id or name contains
// the keyword, newest first, and how many there are, whatever the caller may do.
func (s *Service) Companies(ctx context.Context, page tokenstore.Page, keyword string) ([]tokenstore.Company, int, error) {
	return s.catalog.Companies(ctx, page, keyword)
}

// SaveCompany creates or updates a company. An account may name a secret that
// does not exist yet, but only a realm that does.
func (s *Service) SaveCompany(ctx context.Context, u CompanyUpdate) (tokenstore.Company, error) {
	if err := u.validate(); err != nil {
		return tokenstore.Company{}, err
	}
	if err := s.AllowCompany(u.added()); err != nil && len(u.added()) > 0 {
		return tokenstore.Company{}, err
	}
	if err := s.realmsExist(ctx, u.Accounts); err != nil {
		return tokenstore.Company{}, err
	}
	return s.catalog.SaveCompany(ctx, u.TaxpayerID, func(c tokenstore.Company, found bool) (tokenstore.Company, error) {
		if found {
			if err := s.AllowCompany(c.Accounts); err != nil {
				return c, err
			}
		}
		c, err := u.apply(c, found)
		if err != nil {
			return c, err
		}
		return c, s.AllowCompany(c.Accounts)
	})
}

// added are the accounts that the update sets.
func (u CompanyUpdate) added() map[string]string {
	added := map[string]string{}
	for id, key := range u.Accounts {
		if key != nil {
			added[id] = *key
		}
	}
	return added
}

// DeleteCompany deletes a company; its accounts stay what they are, secrets.
// CodeCompanyNotFound.
func (s *Service) DeleteCompany(ctx context.Context, taxpayerID string) error {
	if _, err := s.Company(ctx, taxpayerID); err != nil {
		return err
	}
	return s.catalog.DeleteCompany(ctx, taxpayerID)
}

// realmsExist refuses accounts of realms that do not exist. It checks only those
// of the update: a company must stay editable when one of its realms is deleted.
func (s *Service) realmsExist(ctx context.Context, accounts map[string]*string) error {
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		if accounts[id] == nil {
			continue
		}
		_, err := s.catalog.DefaultKey(ctx, id)
		var e *realm.Error
		if errors.As(err, &e) && e.Code == realm.CodeRealmNotFound {
			return realm.Fieldf("accounts."+id, "there is no realm of this id")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply makes the change. It may be called more than once.
func (u CompanyUpdate) apply(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
	for _, f := range u.texts(&c) {
		if f.value != nil {
			*f.to = *f.value
		}
	}
	accounts := make(map[string]string, len(c.Accounts)+len(u.Accounts))
	if !u.ClearAccounts {
		maps.Copy(accounts, c.Accounts)
	}
	for id, key := range u.Accounts {
		if key == nil {
			delete(accounts, id)
		} else {
			accounts[id] = *key
		}
	}
	if len(accounts) > maxAccounts {
		return c, realm.Fieldf("accounts", "has %d entries; %d is the limit", len(accounts), maxAccounts)
	}
	c.Accounts = accounts
	return c, nil
}

// companyText is one of a company's plain fields, by its JSON name.
type companyText struct {
	name  string
	value *string
	to    *string
}

func (u CompanyUpdate) texts(c *tokenstore.Company) []companyText {
	return []companyText{
		{"company_name", u.Name, &c.Name},
		{"company_phone", u.Phone, &c.Phone},
		{"company_registered_address", u.RegisteredAddress, &c.RegisteredAddress},
		{"bank_name", u.BankName, &c.BankName},
		{"bank_account", u.BankAccount, &c.BankAccount},
	}
}

// validate checks the shape of the update.
func (u CompanyUpdate) validate() error {
	if err := validTaxpayerID("taxpayer_id", u.TaxpayerID); err != nil {
		return err
	}
	for _, f := range u.texts(new(tokenstore.Company)) {
		if f.value != nil {
			if err := validText(f.name, *f.value); err != nil {
				return err
			}
		}
	}
	if len(u.Accounts) > maxAccounts {
		return realm.Fieldf("accounts", "has %d entries; %d is the limit", len(u.Accounts), maxAccounts)
	}
	for _, id := range slices.Sorted(maps.Keys(u.Accounts)) {
		if err := validAccount(id, u.Accounts[id]); err != nil {
			return err
		}
	}
	return nil
}

func validAccount(id string, key *string) error {
	if err := realm.ValidateID("accounts", id); err != nil {
		return realm.Fieldf("accounts", "has a name that is not a realm id")
	}
	if key == nil {
		return nil
	}
	return realm.ValidateID("accounts."+id, *key)
}

// validTaxpayerID checks a taxpayer id: 1 to 64 characters without blanks and
// control characters. field is its path, for the error.
func validTaxpayerID(field, s string) error {
	switch n := utf8.RuneCountInString(s); {
	case n > maxTaxpayerID:
		return realm.Fieldf(field, "has %d characters; %d is the limit", n, maxTaxpayerID)
	case strings.ContainsFunc(s, unicode.IsSpace):
		return realm.Fieldf(field, "has a blank")
	}
	return realm.ValidateID(field, s)
}

// validText checks a line of text.
func validText(field, s string) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return realm.Fieldf(field, "is not UTF-8 text")
	case n > tokenstore.MaxCompanyText:
		return realm.Fieldf(field, "has %d characters; %d is the limit", n, tokenstore.MaxCompanyText)
	case strings.ContainsFunc(s, unicode.IsControl):
		return realm.Fieldf(field, "has a control character")
	}
	return nil
}
