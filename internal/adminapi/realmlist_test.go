package adminapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// longRealm is a realm of about 48 KiB, with a comment as long as they may be.
func longRealm(id string) catalog.Definition {
	r := realm.Realm{ID: id, Comment: strings.Repeat("c", 5_000)}
	r.Config.Grant = &realm.Grant{Name: "static"}
	for i := range 9 {
		r.Config.Inject = append(r.Config.Inject, realm.Injection{Place: "header", Name: fmt.Sprint("X-Long-", i), Value: strings.Repeat("v", 4_700) + "{token}"})
	}
	return catalog.Definition{Realm: r}
}

// A page of 1,000 realms had all that each says: 48 MB.
func TestRealmListIsBounded(t *testing.T) {
	definitions := []catalog.Definition{}
	for i := range 1_000 {
		definitions = append(definitions, longRealm(fmt.Sprintf("realm-%04d", i)))
	}
	s := newServer(t, definitions...)
	const most = 1 << 20
	// The lines of the others take room, too.
	for target, whole := range map[string]int{
		"/api/realm?pageSize=20&counts=true": 20, "/api/realm?pageSize=1000&counts=true": 17, "/api/realm?page=2&pageSize=500": 19,
	} {
		a := s.must(http.MethodGet, target, "")
		if len(a.body) >= most {
			t.Errorf("%s: %d bytes", target, len(a.body))
		}
		list, truncated := listed(a), 0
		for _, r := range list {
			_, hasConfig := r["config"]
			if isTruncated := r["truncated"] == true; isTruncated == hasConfig || isTruncated && r["comment"] != nil || r["id"] == nil {
				t.Fatalf("%s: %.200v", target, r)
			} else if isTruncated {
				truncated++
			}
		}
		if got := len(list) - truncated; got < whole {
			t.Errorf("%s: %d of %d realms are whole, want at least %d", target, got, len(list), whole)
		}
		if total := a.document()["data"].(map[string]any)["total"]; total != 1_000.0 {
			t.Errorf("%s: total %v", target, total)
		}
	}
	if doc := s.must(http.MethodGet, "/api/realm/realm-0900", "").document(); doc["config"] == nil || doc["truncated"] != nil {
		t.Errorf("one realm: %.200v", doc)
	}
	// As it came from a list, a realm is not emptied.
	s.must(http.MethodPost, "/api/realm", `{"id":"own","comment":"stays"}`)
	s.must(http.MethodPost, "/api/realm", `{"id":"own","truncated":true}`)
	if doc := s.must(http.MethodGet, "/api/realm/own", "").document(); doc["comment"] != "stays" {
		t.Errorf("after a truncated one was posted: %v", doc)
	}
}

// One short realm behind long ones has room.
func TestRealmListKeepsWhatFits(t *testing.T) {
	definitions := []catalog.Definition{}
	for i := range 30 {
		definitions = append(definitions, longRealm(fmt.Sprintf("realm-%02d", i)))
	}
	short := realm.Realm{ID: "short", Comment: "short"}
	short.Config = realm.Config{Grant: definitions[0].Realm.Config.Grant, Inject: []realm.Injection{{Place: "url", Name: "t"}}}
	s := newServer(t, append(definitions, catalog.Definition{Realm: short})...)
	list := listed(s.must(http.MethodGet, "/api/realm?pageSize=100", ""))
	if last := list[len(list)-1]; last["id"] != "short" || last["truncated"] != nil || last["config"] == nil {
		t.Errorf("the last one: %v", last)
	}
}

// listed are the items of a list.
func listed(a answer) (items []map[string]any) {
	a.t.Helper()
	for _, item := range a.document()["data"].(map[string]any)["list"].([]any) {
		items = append(items, item.(map[string]any))
	}
	return items
}

// Whoever may change a realm, and may not read its secrets, was told their keys.
func TestNeedsValuesNamesWhatMayBeRead(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"other","key_1":"mine","key_2":"mine","key_3":"client_credential"}`)
	for name, c := range map[string]struct {
		rules []string
		want  any
	}{
		"admin":                        {[]string{"allow admin wxgzh *"}, nil},
		"admin, and reads one of them": {[]string{"allow admin wxgzh *", "allow admin_read wxgzh other"}, []any{"other"}},
		"admin, and reads all":         {[]string{"allow admin wxgzh *", "allow admin_read wxgzh *"}, []any{"other", "wxgzh_secret"}},
	} {
		elsewhere, _ := thief(t)
		client := s.client(t, strings.ReplaceAll(name, " ", "-"), c.rules...)
		a := client.json(http.MethodPost, "/api/realm", `{"id":"wxgzh","config":`+s.movedTo(elsewhere)+`}`)
		if a.status != http.StatusOK || fmt.Sprint(a.document()["needs_values"]) != fmt.Sprint(c.want) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
