package catalog

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Company returns one company. CodeCompanyNotFound.
func (c *Catalog) Company(ctx context.Context, taxpayerID string) (company tokenstore.Company, err error) {
	err = c.inStore(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		company, err = s.Company(ctx, taxpayerID)
		return err
	})
	return company, err
}

// Companies lists a page, newest first, of the companies whose taxpayer id or
// name contains the keyword, and counts them all.
func (c *Catalog) Companies(ctx context.Context, page tokenstore.Page, keyword string) (list []tokenstore.Company, total int, err error) {
	err = c.inStore(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		list, total, err = s.Companies(ctx, page, keyword)
		return err
	})
	return list, total, err
}

// SaveCompany creates or updates a company, see tokenstore.CompanyStore.
func (c *Catalog) SaveCompany(ctx context.Context, taxpayerID string, change func(company tokenstore.Company, found bool) (tokenstore.Company, error)) (saved tokenstore.Company, err error) {
	err = c.inStore(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		saved, err = s.UpdateCompany(ctx, taxpayerID, change)
		return err
	})
	return saved, err
}

// DeleteCompany deletes a company; its accounts stay. CodeCompanyNotFound.
func (c *Catalog) DeleteCompany(ctx context.Context, taxpayerID string) error {
	return c.inStore(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		return s.DeleteCompany(ctx, taxpayerID)
	})
}

// inStore does something with the store's companies and turns its error into
// the caller's. Nothing about a company is kept in memory, so that a change
// needs no callback.
func (c *Catalog) inStore(ctx context.Context, do func(context.Context, tokenstore.CompanyStore) error) error {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return StoreError(err)
	}
	return changeError(do(ctx, c.cache.store))
}
