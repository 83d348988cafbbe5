package catalog

import (
	"net/http"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A company is created, read, listed and deleted; what a change refuses is not
// saved. Companies are in nobody's memory: their changes are not reported.
func TestCompanies(t *testing.T) {
	f := newFixture(t)
	_, err := f.Company(t.Context(), "91")
	wantError(t, err, realm.CodeCompanyNotFound, http.StatusNotFound)
	saved, err := f.SaveCompany(t.Context(), "91", func(c tokenstore.Company, found bool) (tokenstore.Company, error) {
		c.Name, c.Accounts = "Acme", map[string]string{"jd": "acme"}
		return c, nil
	})
	if err != nil || saved.TaxpayerID != "91" || saved.ID == 0 {
		t.Fatalf("%+v %v", saved, err)
	}
	_, err = f.SaveCompany(t.Context(), "91", func(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
		return c, realm.Fieldf("company_name", "is wrong")
	})
	if got, err2 := f.Company(t.Context(), "91"); err == nil || err2 != nil || got.Name != "Acme" || got.Accounts["jd"] != "acme" {
		t.Fatalf("%+v %v %v", got, err, err2)
	}
	if list, total, err := f.Companies(t.Context(), tokenstore.Page{Number: 1, Size: 10}, "acm"); err != nil || total != 1 || len(list) != 1 {
		t.Fatalf("%v %d %v", list, total, err)
	}
	if err := f.DeleteCompany(t.Context(), "91"); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.DeleteCompany(t.Context(), "91"), realm.CodeCompanyNotFound, http.StatusNotFound)
	f.reported(t)
}
