package broker

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Company returns one company. CodeCompanyNotFound.
func (v *View) Company(ctx context.Context, taxpayerID string) (c tokenstore.Company, err error) {
	err = v.companies(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		c, err = s.Company(ctx, taxpayerID)
		return err
	})
	return c, err
}

// Companies lists a page, newest first, of the companies whose taxpayer id or
// name contains the keyword, and counts them all.
func (v *View) Companies(ctx context.Context, page tokenstore.Page, keyword string) (list []tokenstore.Company, total int, err error) {
	err = v.companies(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		list, total, err = s.Companies(ctx, page, keyword)
		return err
	})
	return list, total, err
}

// SaveCompany creates or updates a company, see tokenstore.CompanyStore.
func (v *View) SaveCompany(ctx context.Context, taxpayerID string, change func(c tokenstore.Company, found bool) (tokenstore.Company, error)) (saved tokenstore.Company, err error) {
	err = v.companies(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		saved, err = s.UpdateCompany(ctx, taxpayerID, change)
		return err
	})
	return saved, err
}

// DeleteCompany deletes a company; its accounts stay. CodeCompanyNotFound.
func (v *View) DeleteCompany(ctx context.Context, taxpayerID string) error {
	return v.companies(ctx, func(ctx context.Context, s tokenstore.CompanyStore) error {
		return s.DeleteCompany(ctx, taxpayerID)
	})
}

// companies does something with the store, and turns its error into the
// caller's. What a change function says passes as it is.
func (v *View) companies(ctx context.Context, do func(context.Context, tokenstore.CompanyStore) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := v.pool.Open(ctx)
	if err == nil {
		err = do(ctx, v.pool.store)
	}
	var field *realm.FieldError
	var own *realm.Error
	switch {
	case err == nil, errors.As(err, &field), errors.As(err, &own):
		return err
	case errors.Is(err, tokenstore.ErrCompanyNotFound):
		return &realm.Error{Code: realm.CodeCompanyNotFound, Status: http.StatusNotFound, Detail: "there is no company with this taxpayer id"}
	}
	return storeFailed(err)
}
