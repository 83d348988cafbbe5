package tokenstore

import (
	"context"
	"time"
)

const (
	// MaxTaxpayerID is the longest taxpayer id, in bytes: as long as any other
	// identifier.
	MaxTaxpayerID = 255
	// MaxCompanyText is the longest of a company's other texts, in characters.
	MaxCompanyText = 500
)

// Company is who accounts belong to: the one that invoices and orders are
// made out to.
type Company struct {
	// ID is given by the store, which never gives it to another company.
	ID int64
	// TaxpayerID names the company to callers: at most MaxTaxpayerID bytes.
	TaxpayerID string
	// The texts are at most MaxCompanyText characters each.
	Name, Phone, RegisteredAddress string
	BankName, BankAccount          string
	// Accounts are the keys of its secrets by the id of their realm.
	Accounts             map[string]string
	CreatedAt, UpdatedAt time.Time
	// Damaged is set in lists: what is stored cannot be trusted, and only the
	// ids are known.
	Damaged bool
}

// CompanyStore keeps companies. Nothing of them is sealed. It does not check
// that their accounts exist.
type CompanyStore interface {
	// Company returns the company with this taxpayer id, ErrCompanyNotFound
	// where there is none.
	Company(ctx context.Context, taxpayerID string) (Company, error)
	// Companies lists a page, newest first, of the companies whose taxpayer id
	// or name contains the keyword (case-insensitively; % and _ are plain
	// characters), and counts them all.
	Companies(ctx context.Context, page Page, keyword string) ([]Company, int, error)
	// UpdateCompany is for companies what UpdateRealm is for realms. The id and
	// the taxpayer id stay as they are, whatever change returns.
	UpdateCompany(ctx context.Context, taxpayerID string, change func(c Company, found bool) (Company, error)) (Company, error)
	// DeleteCompany deletes a company, ErrCompanyNotFound where there is none.
	// Its accounts stay.
	DeleteCompany(ctx context.Context, taxpayerID string) error
}
