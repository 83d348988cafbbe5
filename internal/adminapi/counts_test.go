package adminapi

import (
	"context"
	"fmt"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// counting has a page of realms, and counts how often it is asked.
type counting struct {
	*puppet
	asked map[string]int
	keep  func(id string) bool
}

func (c *counting) Realms(_ context.Context, page tokenstore.Page, f tokenstore.RealmFilter) (list []catalog.RealmInfo, _ int, _ error) {
	c.asked["realms"]++
	c.keep = f.Keep
	for i := range page.Size {
		list = append(list, catalog.RealmInfo{Realm: realm.Realm{ID: fmt.Sprint("r", i)}})
	}
	return list, page.Size, nil
}

func (c *counting) CountSecrets(_ context.Context, realms []string, _ func(realm.Ref) bool) (map[string]int, error) {
	c.asked["secrets"]++
	return map[string]int{realms[0]: 7}, nil
}

func (c *counting) Counts(realms []string, _ func(realm.Ref) bool) map[string]broker.RealmCounts {
	c.asked["tokens"]++
	counts := map[string]broker.RealmCounts{}
	for _, id := range realms {
		counts[id] = broker.RealmCounts{Attention: 1, States: map[string]int{"failing": 1}}
	}
	return counts
}

// A page of realms costs as many questions as one realm, with counts and for who may
// see some of them.
func TestQueriesOfAListOfRealms(t *testing.T) {
	s := newServer(t)
	p, c := newPuppet(t)
	some := s.client(t, "some", "allow admin_read r1 *")
	for name, who := range map[string]caller{"all": c, "some": some} {
		many := &counting{puppet: p, asked: map[string]int{}}
		s.h = newLocal(many, many, Options{})
		if name == "all" {
			who.h = s.h
		}
		who.get("/api/realm?pageSize=1000")
		if got := fmt.Sprint(many.asked); got != "map[realms:1]" {
			t.Errorf("%s: %s", name, got)
		}
		if isFiltered := many.keep != nil; isFiltered != (name == "some") || isFiltered && (!many.keep("r1") || many.keep("r2")) {
			t.Errorf("%s: filtered: %v", name, isFiltered)
		}
		a := who.get("/api/realm?pageSize=1000&counts=true")
		if got := fmt.Sprint(many.asked); got != "map[realms:2 secrets:1 tokens:1]" {
			t.Errorf("%s: %s", name, got)
		}
		list, _ := a.document()["data"].(map[string]any)["list"].([]any)
		if got := fmt.Sprint(list[0].(map[string]any)["counts"]); got != "map[attention:1 secrets:7 states:map[failing:1]]" {
			t.Errorf("%s: %s", name, got)
		}
	}
	c.get("/api/realm?counts=perhaps").wrong("counts")
}
