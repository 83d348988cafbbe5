package account

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What is absent stays, what is empty is cleared.
func TestSaveCompany(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.companies["9111"] = tokenstore.Company{
		ID: 7, TaxpayerID: "9111", Name: "Acme", Phone: "1", RegisteredAddress: "here", BankName: "bank", BankAccount: "2",
		Accounts: map[string]string{"jd": "a", "gone": "b"},
	}
	for _, step := range []struct {
		update CompanyUpdate
		change func(*tokenstore.Company)
	}{
		{CompanyUpdate{}, func(*tokenstore.Company) {}},
		{CompanyUpdate{Name: new("Acme Ltd"), Phone: new("")}, func(c *tokenstore.Company) { c.Name, c.Phone = "Acme Ltd", "" }},
		{
			CompanyUpdate{RegisteredAddress: new("there"), BankName: new("b"), BankAccount: new("3")},
			func(c *tokenstore.Company) { c.RegisteredAddress, c.BankName, c.BankAccount = "there", "b", "3" },
		},
		{
			CompanyUpdate{Accounts: map[string]*string{"sn": new("c")}},
			func(c *tokenstore.Company) { c.Accounts["sn"] = "c" },
		},
		{
			// That a realm is gone hinders neither this nor what else is changed.
			CompanyUpdate{Accounts: map[string]*string{"gone": nil, "jd": new("d")}},
			func(c *tokenstore.Company) { delete(c.Accounts, "gone"); c.Accounts["jd"] = "d" },
		},
		{
			CompanyUpdate{ClearAccounts: true, Accounts: map[string]*string{"jd": new("e")}},
			func(c *tokenstore.Company) { c.Accounts = map[string]string{"jd": "e"} },
		},
		{CompanyUpdate{ClearAccounts: true}, func(c *tokenstore.Company) { c.Accounts = map[string]string{} }},
	} {
		want := p.companies["9111"]
		before := maps.Clone(want.Accounts)
		want.Accounts = maps.Clone(before)
		step.change(&want)
		step.update.TaxpayerID = "9111"
		held := p.companies["9111"]
		got, err := s.SaveCompany(t.Context(), step.update)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", step.update, diff)
		}
		if !maps.Equal(held.Accounts, before) {
			t.Error("the stored company itself was changed")
		}
	}
	got, err := s.SaveCompany(t.Context(), CompanyUpdate{TaxpayerID: "新公司"})
	if err != nil || got.TaxpayerID != "新公司" || got.Accounts == nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestCompanyFields(t *testing.T) {
	p, s, _ := newPuppet(t)
	long := strings.Repeat("漢", tokenstore.MaxCompanyText+1)
	crowd := map[string]*string{}
	for n := range maxAccounts + 1 {
		crowd[strings.Repeat("x", n+1)] = new("k")
	}
	for field, updates := range map[string][]CompanyUpdate{
		"taxpayer_id": {
			{},
			{TaxpayerID: "a b"},
			{TaxpayerID: "a\u3000b"},
			{TaxpayerID: "a\x00"},
			{TaxpayerID: strings.Repeat("9", 65)},
			{TaxpayerID: ".."},
			{TaxpayerID: "\xff"},
			{TaxpayerID: " "},
		},
		"company_name":               {{TaxpayerID: "1", Name: &long}, {TaxpayerID: "1", Name: new("a\nb")}},
		"company_phone":              {{TaxpayerID: "1", Phone: &long}, {TaxpayerID: "1", Phone: new("\xff")}},
		"company_registered_address": {{TaxpayerID: "1", RegisteredAddress: &long}},
		"bank_name":                  {{TaxpayerID: "1", BankName: &long}},
		"bank_account":               {{TaxpayerID: "1", BankAccount: &long}},
		"accounts": {
			{TaxpayerID: "1", Accounts: map[string]*string{"": new("k")}},
			{TaxpayerID: "1", Accounts: map[string]*string{"a\x00": nil}},
			{TaxpayerID: "1", Accounts: crowd},
		},
		"accounts.jd": {
			{TaxpayerID: "1", Accounts: map[string]*string{"jd": new("")}},
			{TaxpayerID: "1", Accounts: map[string]*string{"jd": new("a\x00")}},
			{TaxpayerID: "1", Accounts: map[string]*string{"jd": new(strings.Repeat("k", 256))}},
		},
		"accounts.x": {{TaxpayerID: "1", Accounts: map[string]*string{"jd": new("k"), "x": new("k")}}},
	} {
		for _, u := range updates {
			_, err := s.SaveCompany(t.Context(), u)
			wrongField(t, err, field)
		}
	}
	if len(p.companies) != 0 {
		t.Errorf("saved: %v", p.companies)
	}
	p.away = &realm.Error{Code: realm.CodeUnavailable, Status: 503}
	_, err := s.SaveCompany(t.Context(), CompanyUpdate{TaxpayerID: "1", Accounts: map[string]*string{"jd": new("k")}})
	refusal(t, err, 503, realm.CodeUnavailable)
	fits := strings.Repeat("漢", tokenstore.MaxCompanyText)
	if _, err := s.SaveCompany(t.Context(), CompanyUpdate{TaxpayerID: strings.Repeat("漢", 64), Name: &fits}); err != nil {
		t.Error(err)
	}
}

// An update must not bring the accounts above their bound step by step.
func TestAccountsAreBounded(t *testing.T) {
	p, s, _ := newPuppet(t)
	full := map[string]string{}
	for n := range maxAccounts {
		full[strings.Repeat("x", n+1)] = "k"
	}
	p.companies["1"] = tokenstore.Company{Accounts: full}
	_, err := s.SaveCompany(t.Context(), CompanyUpdate{TaxpayerID: "1", Accounts: map[string]*string{"jd": new("k")}})
	wrongField(t, err, "accounts")
}
