package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testCompanies(t *testing.T, b Backend) {
	t.Run("saved and read back", func(t *testing.T) { testCompanyRoundTrip(t, fresh(t, b)) })
	t.Run("update in place", func(t *testing.T) { testUpdateCompany(t, fresh(t, b)) })
	t.Run("taxpayer ids are bytes", func(t *testing.T) { testTaxpayers(t, fresh(t, b)) })
	t.Run("pages, newest first", func(t *testing.T) { testCompanyPages(t, fresh(t, b)) })
	t.Run("keyword", func(t *testing.T) { testCompanyKeyword(t, fresh(t, b)) })
	t.Run("delete", func(t *testing.T) { testDeleteCompany(t, fresh(t, b)) })
	t.Run("updates at once", func(t *testing.T) { testCompanyUpdates(t, b) })
}

// putCompany saves a company; edit nil leaves it empty.
func putCompany(t *testing.T, s tokenstore.Store, taxpayerID string, edit func(*tokenstore.Company)) tokenstore.Company {
	t.Helper()
	saved, err := s.UpdateCompany(t.Context(), taxpayerID, func(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
		if edit != nil {
			edit(&c)
		}
		return c, nil
	})
	ok(t, err)
	return saved
}

func testCompanyRoundTrip(t *testing.T, s tokenstore.Store) {
	const id = "91110108MA01ABCD2X"
	if _, err := s.Company(t.Context(), id); !errors.Is(err, tokenstore.ErrCompanyNotFound) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	longest := strings.Repeat("😀", tokenstore.MaxCompanyText)
	want := tokenstore.Company{
		TaxpayerID: id, Name: "北京某某科技有限公司 \"<&>'\\", Phone: "010-12345678", RegisteredAddress: longest,
		BankName: "招商银行", BankAccount: "110 9012 3456", Accounts: map[string]string{"jd": "main", "苏宁 ": "键\"<&>"},
	}
	saved := putCompany(t, s, id, func(c *tokenstore.Company) { *c = want })
	if saved.ID <= 0 || saved.CreatedAt.IsZero() || !saved.CreatedAt.Equal(saved.UpdatedAt) {
		t.Fatalf("id %d, times %v, %v", saved.ID, saved.CreatedAt, saved.UpdatedAt)
	}
	got, err := s.Company(t.Context(), id)
	ok(t, err)
	same(t, saved, got)
	want.ID, want.CreatedAt, want.UpdatedAt = saved.ID, saved.CreatedAt, saved.UpdatedAt
	same(t, want, got)

	full := func(c *tokenstore.Company) {
		c.Name, c.Phone, c.RegisteredAddress, c.BankName, c.BankAccount = longest, longest, longest, longest, longest
		c.Accounts = map[string]string{}
		for i := range 300 { // and accounts may be any number
			c.Accounts[fmt.Sprint(strings.Repeat("r", 250), i)] = strings.Repeat("k", 255)
		}
	}
	longestID := strings.Repeat("9", tokenstore.MaxTaxpayerID)
	saved = putCompany(t, s, longestID, full)
	got, err = s.Company(t.Context(), longestID)
	ok(t, err)
	same(t, saved, got)
	saved = putCompany(t, s, longestID, func(c *tokenstore.Company) { *c = tokenstore.Company{Accounts: map[string]string{}} })
	got, err = s.Company(t.Context(), longestID)
	ok(t, err)
	same(t, saved, got)
	same(t, tokenstore.Company{ID: saved.ID, TaxpayerID: longestID, CreatedAt: saved.CreatedAt, UpdatedAt: saved.UpdatedAt}, got)
}

func testUpdateCompany(t *testing.T, s tokenstore.Store) {
	created, err := s.UpdateCompany(t.Context(), "9111", func(c tokenstore.Company, found bool) (tokenstore.Company, error) {
		if found || c.TaxpayerID != "9111" || c.ID != 0 || !c.CreatedAt.IsZero() {
			t.Errorf("a new company came as %v, found %v", c, found)
		}
		c.Name = "one"
		return c, nil
	})
	ok(t, err)
	updated, err := s.UpdateCompany(t.Context(), "9111", func(c tokenstore.Company, found bool) (tokenstore.Company, error) {
		if !found || c.Name != "one" {
			t.Errorf("the stored company came as %v, found %v", c, found)
		}
		c.Name += " two"
		c.TaxpayerID, c.ID = "neither is changed", 4711
		return c, nil
	})
	ok(t, err)
	if updated.TaxpayerID != "9111" || updated.ID != created.ID || updated.Name != "one two" ||
		!updated.CreatedAt.Equal(created.CreatedAt) || !updated.UpdatedAt.After(created.UpdatedAt) {
		t.Fatalf("got %v after %v", updated, created)
	}

	refusal := errors.New("refused")
	_, err = s.UpdateCompany(t.Context(), "9111", func(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
		c.Name = "never"
		return c, refusal
	})
	if !errors.Is(err, refusal) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	got, err := s.Company(t.Context(), "9111")
	ok(t, err)
	same(t, updated, got)
}

// testTaxpayers: ids that differ by case, a trailing blank or their Unicode
// form are different companies.
func testTaxpayers(t *testing.T, s tokenstore.Store) {
	ids := []string{"91x", "91X", "91x ", " 91x", "91x\u00a0", "caf\u00e9", "cafe\u0301", "9"}
	seen := map[int64]bool{}
	for _, id := range ids {
		seen[putCompany(t, s, id, func(c *tokenstore.Company) { c.Name = "of " + id }).ID] = true
	}
	if len(seen) != len(ids) {
		t.Fatalf("%d companies have %d ids", len(ids), len(seen))
	}
	for _, id := range ids {
		c, err := s.Company(t.Context(), id)
		ok(t, err)
		if c.TaxpayerID != id || c.Name != "of "+id {
			t.Errorf("%q came as %q, %q", id, c.TaxpayerID, c.Name)
		}
	}
}

func testCompanyPages(t *testing.T, s tokenstore.Store) {
	for i := range 7 {
		putCompany(t, s, fmt.Sprint("c", i), nil)
	}
	putCompany(t, s, "c2", func(c *tokenstore.Company) { c.Phone = "touched last" })
	want := []string{"c2", "c6", "c5", "c4", "c3", "c1", "c0"}
	var got []string
	for number := 1; number <= 4; number++ {
		list, total, err := s.Companies(t.Context(), tokenstore.Page{Number: number, Size: 3}, "")
		ok(t, err)
		if total != len(want) {
			t.Fatalf("total %d", total)
		}
		for _, c := range list {
			got = append(got, c.TaxpayerID)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if list, total, err := s.Companies(t.Context(), tokenstore.Page{Number: 1 << 62, Size: 1000}, ""); err != nil || len(list) != 0 || total != 7 {
		t.Fatalf("a page far behind the end: %d of %d, %v", len(list), total, err)
	}
}

func testCompanyKeyword(t *testing.T, s tokenstore.Store) {
	for id, name := range map[string]string{
		"91AB": "北京京东", "92ab": "苏宁 100% 易购", "93_": "a_b", "94": `C:\temp`, "95": "Ärger mit ÖPNV", "96": "😀",
	} {
		putCompany(t, s, id, func(c *tokenstore.Company) { c.Name, c.BankName = name, "not looked at" })
	}
	for keyword, want := range map[string]string{
		"":      "91AB 92ab 93_ 94 95 96",
		"aB":    "91AB 92ab",
		"京东":    "91AB",
		"%":     "92ab",
		"100_":  "",
		"_":     "93_",
		`c:\T`:  "94",
		"ÄRGER": "95",
		"öpnv":  "95",
		"😀":     "96",
		"😁":     "",
		"AB北京":  "",
		"not":   "",
		"'":     "",
	} {
		list, total, err := s.Companies(t.Context(), tokenstore.Page{Number: 1, Size: 100}, keyword)
		ok(t, err)
		ids := make([]string, 0, len(list))
		for _, c := range list {
			ids = append(ids, c.TaxpayerID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want || total != len(list) {
			t.Errorf("keyword %q: got %q (%d), want %q", keyword, got, total, want)
		}
	}
	putCompany(t, s, "96", func(c *tokenstore.Company) { c.Name = "renamed" })
	if list, _, err := s.Companies(t.Context(), tokenstore.Page{Number: 1, Size: 9}, "NAMED"); err != nil || len(list) != 1 {
		t.Errorf("a new name finds %v, %v", list, err)
	}
}

func testDeleteCompany(t *testing.T, s tokenstore.Store) {
	if err := s.DeleteCompany(t.Context(), "absent"); !errors.Is(err, tokenstore.ErrCompanyNotFound) {
		t.Fatalf("got %v", err)
	}
	putCompany(t, s, "a", nil)
	last := putCompany(t, s, "b", nil)
	ok(t, s.DeleteCompany(t.Context(), "b"))
	if _, err := s.Company(t.Context(), "b"); !errors.Is(err, tokenstore.ErrCompanyNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Company(t.Context(), "a"); err != nil {
		t.Fatalf("another company: %v", err)
	}
	if again := putCompany(t, s, "b", nil); again.ID <= last.ID || again.CreatedAt.Equal(last.CreatedAt) {
		t.Fatalf("a new company has id %d, the deleted one had %d", again.ID, last.ID)
	}
}

// testCompanyUpdates: no update of a company is lost, the first ones neither.
func testCompanyUpdates(t *testing.T, b Backend) {
	const writers, each = 8, 5
	stores := handles(t, b)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				_, err := stores[i%2].UpdateCompany(t.Context(), "9111", func(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
					if c.Accounts == nil {
						c.Accounts = map[string]string{}
					}
					c.Accounts[fmt.Sprint(i, "-", n)] = "x"
					return c, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, err := stores[1].Company(t.Context(), "9111")
	ok(t, err)
	if _, total, err := stores[0].Companies(t.Context(), tokenstore.Page{Number: 1, Size: 1}, ""); err != nil || total != 1 {
		t.Fatalf("%d companies, %v", total, err)
	}
	if len(c.Accounts) != writers*each {
		t.Fatalf("%d of %d updates are there", len(c.Accounts), writers*each)
	}
}
