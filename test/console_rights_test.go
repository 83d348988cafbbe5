package test

import (
	"slices"
	"strings"
	"testing"
)

// offers are the names of what a page offers: its buttons, links and tabs.
func (b *tab) offers() []string {
	b.t.Helper()
	var names []string
	for _, role := range []string{"button", "link", "tab", "menuitem"} {
		for _, e := range b.all(role) {
			names = append(names, plain(ornaments.ReplaceAllString(e.name, "")))
		}
	}
	return names
}

// wantOffers expects that a page offers the first of the texts, and not the second.
func (b *tab) wantOffers(path string, offered, hidden []string) {
	b.t.Helper()
	b.visit(path)
	for _, text := range offered {
		b.eventually(path+" offers "+b.say(text), func() bool { return slices.Contains(b.offers(), plain(b.say(text))) })
	}
	b.settle()
	offers := b.offers()
	for _, text := range hidden {
		if slices.Contains(offers, plain(b.say(text))) {
			b.t.Errorf("%s offers %q", path, b.say(text))
		}
	}
}

// What the signed-in may not do is not offered, on any page; what he may do is.
func TestConsoleRights(t *testing.T) {
	c := launchConsole(t)
	base := c.fill(oauthProvider())
	c.post("/api/realm", map[string]any{"id": "shop", "config": oauthConfig(base)})
	c.post("/api/secret", map[string]any{"realm": "shop", "key": "acme", "fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01"}})

	menu := func(names ...string) []string {
		for i, name := range names {
			names[i] = "common:menu." + name
		}
		return names
	}
	// What changes something.
	change := []string{"realms:new", "secrets:new", "secrets:add_many", "companies:new", "clients:new"}
	lists := []string{"realms", "secrets", "companies", "clients"}
	type view struct {
		path            string
		offered, hidden []string
	}
	for _, r := range []struct {
		name   string
		rights []string
		realms []string
		views  []view
		nobody []string // what is on no page, and on no list
	}{
		{"admin", []string{"admin", "admin_read", "flush"}, []string{"*"}, []view{
			{"", menu("realms", "secrets", "accounts", "companies", "clients", "explain"), menu("audit")},
			{"realms", []string{"realms:new"}, nil},
			{"realms/crm", []string{"common:edit", "common:delete", "realms:test.title"}, nil},
			{"secrets", []string{"secrets:new", "secrets:add_many"}, nil},
			{"secrets/crm/main", []string{"secrets:flush.verb", "common:delete", "secrets:change", "secrets:test"}, nil},
			{"clients", []string{"clients:new"}, nil},
			{"clients/billing", []string{"clients:action.edit", "clients:action.rotate", "clients:action.delete"}, []string{"clients:action.audit"}},
			{"companies", []string{"companies:new"}, nil},
		}, nil},
		{"admin_read", []string{"admin_read"}, []string{"*"}, []view{
			{"", menu("realms", "secrets", "accounts", "companies", "clients", "explain"), menu("audit")},
			{"realms/crm", []string{"realms:to_list", "realms:config"}, []string{"common:edit", "common:delete", "realms:test.title"}},
			{
				"secrets/crm/main",
				[]string{"secrets:to_list", "secrets:fields"},
				[]string{"secrets:flush.verb", "common:delete", "secrets:change", "secrets:test"},
			},
			{
				"clients/billing",
				[]string{"clients:action.explain"},
				[]string{"clients:action.edit", "clients:action.rotate", "clients:action.delete", "clients:action.audit"},
			},
		}, change},
		{"audit", []string{"audit"}, []string{"*"}, []view{
			{"", menu("overview", "audit"), menu("realms", "secrets", "accounts", "companies", "clients", "explain")},
			{"audit", []string{"common:reload"}, nil},
		}, change},
		{"one realm", []string{"admin", "admin_read"}, []string{"shop"}, []view{
			{"", menu("realms", "secrets"), menu("audit")},
			{"realms/shop", []string{"common:edit", "realms:test.title"}, nil},
			{"realms/crm", nil, []string{"common:edit", "common:delete", "realms:test.title"}},
			{"secrets/shop/acme", []string{"common:delete", "secrets:change"}, []string{"secrets:flush.verb"}},
			{"secrets/crm/main", nil, []string{"secrets:flush.verb", "common:delete", "secrets:change", "secrets:test"}},
		}, []string{"clients:new"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			c := c.in(t)
			b := c.openConsole(english)
			// A page of what is not for him says so.
			b.expects("GET api/realm/crm 403", "GET api/secret/crm/main 403", "GET api/status 403", "GET api/realm/crm 404",
				"GET api/secret/crm/main 404", "GET api/client 403")
			b.signIn(c.client("he-"+strings.ReplaceAll(r.name, " ", "-"), r.rights, r.realms...))
			for _, v := range r.views {
				b.wantOffers(v.path, v.offered, v.hidden)
			}
			for _, path := range lists {
				b.wantOffers(path, nil, r.nobody)
				if len(r.realms) == 1 && r.realms[0] == "shop" && strings.Contains(b.text(), "crm") {
					t.Errorf("%s shows the other realm:\n%s", path, b.text())
				}
			}
		})
	}
}
