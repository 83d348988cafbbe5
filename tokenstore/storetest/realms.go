package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testRealms(t *testing.T, b Backend) {
	t.Run("saved and read back", func(t *testing.T) { testRealmRoundTrip(t, fresh(t, b)) })
	t.Run("update in place", func(t *testing.T) { testUpdateRealm(t, fresh(t, b)) })
	t.Run("pages, newest first", func(t *testing.T) { testRealmPages(t, fresh(t, b)) })
	t.Run("keyword", func(t *testing.T) { testKeyword(t, fresh(t, b)) })
	t.Run("delete", func(t *testing.T) { testDeleteRealm(t, fresh(t, b)) })
}

// sample says as much as a realm can say, confidential fields too.
func sample(id string) realm.Realm {
	return realm.Realm{
		ID: id, Comment: "公众号 <&> 😀", LogicCode: "https://delegate.example.com/token?a=1&b=2",
		SharedHosts: []string{"*.example.com:8443", "{secret.shop}.example.com"},
		Config: realm.Config{
			API: "https://api.example.com", Hosts: []string{"*.example.com:8443"},
			Recipe: realm.Recipe{
				URL: "https://login.example.com/token", Method: "POST", ContentType: realm.ContentForm,
				Arguments: []realm.Argument{{Name: "secret", Place: realm.PlaceBody, Value: "$key_2"}},
				TokenPath: "data.0.access_token", ExpiresInPath: "expires_in",
				Success: []realm.Rule{{JSON: "errcode", Values: []realm.Scalar{realm.ScalarOf("0")}, Absent: true}},
			},
			Lifetime: realm.Lifetime{Unlimited: true},
			Refresh:  &realm.Recipe{Method: "POST"},
			Inject:   []realm.Injection{{Place: realm.PlaceHeader, Name: "Authorization", Value: "Bearer {token}"}},
			RenewOn:  []realm.Rule{{Status: []int{401}}},
			Overlap:  realm.Duration(5 * time.Minute), ReplayMax: 1 << 20,
			Shared: map[string]realm.Hidden{"app_key": "shared-1", "app_secret": "共享"},
			Limits: realm.Limits{Windows: []realm.Window{{Calls: 2000, Per: realm.Duration(24 * time.Hour)}}},
		},
	}
}

// same compares everything, hidden values and scalars by what they hold.
func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func testRealmRoundTrip(t *testing.T, s tokenstore.Store) {
	if _, err := s.Realm(t.Context(), "absent"); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Fatalf("got %v", err)
	}
	saved, err := SaveRealm(t.Context(), s, sample("wx"))
	ok(t, err)
	if saved.CreatedAt.IsZero() || !saved.CreatedAt.Equal(saved.UpdatedAt) {
		t.Fatalf("times: %v, %v", saved.CreatedAt, saved.UpdatedAt)
	}
	got, err := s.Realm(t.Context(), "wx")
	ok(t, err)
	same(t, saved, got)
	want := sample("wx")
	want.CreatedAt, want.UpdatedAt = saved.CreatedAt, saved.UpdatedAt
	same(t, want, got)
	if v := got.Config.Shared["app_key"].Reveal(); v != "shared-1" {
		t.Fatalf("the shared field holds %q", v)
	}

	replaced, err := SaveRealm(t.Context(), s, realm.Realm{ID: "wx"})
	ok(t, err)
	if !replaced.CreatedAt.Equal(saved.CreatedAt) || replaced.UpdatedAt.Before(saved.UpdatedAt) {
		t.Fatalf("times after a replacement: %v, %v", replaced.CreatedAt, replaced.UpdatedAt)
	}
	got, err = s.Realm(t.Context(), "wx")
	ok(t, err)
	same(t, replaced, got)
	if got.Config.Shared != nil || got.Comment != "" {
		t.Fatal("what was replaced is still there")
	}
}

func testUpdateRealm(t *testing.T, s tokenstore.Store) {
	_, err := s.UpdateRealm(t.Context(), "jd", func(r realm.Realm, found bool) (realm.Realm, error) {
		if found || r.ID != "jd" || !r.CreatedAt.IsZero() {
			t.Errorf("a new realm came as %v, found %v", r, found)
		}
		r.Comment = "one"
		return r, nil
	})
	ok(t, err)
	updated, err := s.UpdateRealm(t.Context(), "jd", func(r realm.Realm, found bool) (realm.Realm, error) {
		if !found || r.Comment != "one" {
			t.Errorf("the stored realm came as %v, found %v", r, found)
		}
		r.Comment += " two"
		r.ID = "an id is not changed"
		return r, nil
	})
	ok(t, err)
	if updated.ID != "jd" || updated.Comment != "one two" {
		t.Fatalf("got %v", updated)
	}

	refusal := errors.New("refused")
	_, err = s.UpdateRealm(t.Context(), "jd", func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Comment = "never"
		return r, refusal
	})
	if !errors.Is(err, refusal) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	got, err := s.Realm(t.Context(), "jd")
	ok(t, err)
	same(t, updated, got)
}

func testRealmPages(t *testing.T, s tokenstore.Store) {
	for i := range 7 {
		_, err := SaveRealm(t.Context(), s, realm.Realm{ID: fmt.Sprintf("r%d", i)})
		ok(t, err)
	}
	_, err := SaveRealm(t.Context(), s, realm.Realm{ID: "r2", Comment: "touched last"})
	ok(t, err)
	want := []string{"r2", "r6", "r5", "r4", "r3", "r1", "r0"}
	var got []string
	for number := 1; number <= 4; number++ {
		list, total, err := s.Realms(t.Context(), tokenstore.Page{Number: number, Size: 3}, tokenstore.RealmFilter{})
		ok(t, err)
		if total != len(want) {
			t.Fatalf("total %d", total)
		}
		for _, r := range list {
			got = append(got, r.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	not := func(id string) bool { return id != "r6" && id != "r1" }
	for number, want := range map[int]string{1: "[r2 r5 r4]", 2: "[r3 r0]", 3: "[]", 1 << 62: "[]"} {
		list, total, err := s.Realms(t.Context(), tokenstore.Page{Number: number, Size: 3}, tokenstore.RealmFilter{Keep: not})
		ok(t, err)
		ids := []string{}
		for _, r := range list {
			ids = append(ids, r.ID)
		}
		if fmt.Sprint(ids) != want || total != 5 {
			t.Errorf("page %d of those that are kept: %v of %d, want %s", number, ids, total, want)
		}
	}
	list, total, err := s.Realms(t.Context(), tokenstore.Page{Number: 1, Size: 3}, tokenstore.RealmFilter{Keyword: "touched", Keep: not})
	if err != nil || total != 1 || list[0].Comment != "touched last" {
		t.Errorf("with a keyword: %v of %d, %v", list, total, err)
	}
	if list, total, err := s.Realms(t.Context(), tokenstore.Page{Number: 1 << 62, Size: 1000}, tokenstore.RealmFilter{}); err != nil || len(list) != 0 || total != 7 {
		t.Fatalf("a page far behind the end: %d of %d, %v", len(list), total, err)
	}
}

func testKeyword(t *testing.T, s tokenstore.Store) {
	comments := map[string]string{
		"wechat": "微信公众号", "WeCom": "企业微信 100% done", "under_score": "a_b", "back": `C:\temp`,
		"umlaut": "Ärger mit ÖPNV", "plain": "nothing here", "emoji": "😀",
	}
	for id, comment := range comments {
		_, err := SaveRealm(t.Context(), s, realm.Realm{ID: id, Comment: comment})
		ok(t, err)
	}
	for keyword, want := range map[string]string{
		"":        "WeCom back emoji plain umlaut under_score wechat",
		"we":      "WeCom wechat",
		"微信":      "WeCom wechat",
		"公众":      "wechat",
		"%":       "WeCom",
		"100%":    "WeCom",
		"100_":    "",
		"_":       "under_score",
		"A_B":     "under_score",
		`\`:       "back",
		`c:\T`:    "back",
		"ärger":   "umlaut",
		"ÖPNV":    "umlaut",
		"😀":       "emoji",
		"😁":       "",
		"wechat微": "",
		"'":       "",
	} {
		list, total, err := s.Realms(t.Context(), tokenstore.Page{Number: 1, Size: 100}, tokenstore.RealmFilter{Keyword: keyword})
		ok(t, err)
		ids := make([]string, 0, len(list))
		for _, r := range list {
			ids = append(ids, r.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want || total != len(list) {
			t.Errorf("keyword %q: got %q (%d), want %q", keyword, got, total, want)
		}
	}
}

func testDeleteRealm(t *testing.T, s tokenstore.Store) {
	if err := s.DeleteRealm(t.Context(), "absent", true); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Fatalf("got %v", err)
	}
	ref, other := realm.Ref{Realm: "a", Key: "k"}, realm.Ref{Realm: "b", Key: "k"}
	for _, r := range []realm.Ref{ref, other} {
		_, err := SaveRealm(t.Context(), s, realm.Realm{ID: r.Realm})
		ok(t, err)
		putSecret(t, s, r, map[string]realm.Hidden{"x": "y"})
		_, err = SaveToken(t.Context(), s, r, token(1), 0)
		ok(t, err)
	}
	if err := s.DeleteRealm(t.Context(), "a", false); !errors.Is(err, tokenstore.ErrRealmHasSecrets) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Realm(t.Context(), "a"); err != nil {
		t.Fatalf("after a refusal: %v", err)
	}
	ok(t, s.DeleteRealm(t.Context(), "a", true))
	if _, err := s.Realm(t.Context(), "a"); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := s.Token(t.Context(), other); err != nil {
		t.Fatalf("the other realm's token: %v", err)
	}
	if _, err := SaveRealm(t.Context(), s, realm.Realm{ID: "empty"}); err != nil {
		t.Fatal(err)
	}
	ok(t, s.DeleteRealm(t.Context(), "empty", false))
}
