package catalog

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var firstPage = tokenstore.Page{Number: 1, Size: 10}

// What a configuration defines cannot be changed, but its realms may have more
// secrets in the store.
func TestReadOnly(t *testing.T) {
	f := newFixture(t, defined())
	_, err := f.SaveRealm(t.Context(), "wx", becomes(wechat()))
	wantError(t, err, realm.CodeReadOnly, http.StatusConflict)
	wantError(t, f.DeleteRealm(t.Context(), "wx", true), realm.CodeReadOnly, http.StatusConflict)
	_, err = f.SaveSecret(t.Context(), SecretUpdate{Ref: wx})
	wantError(t, err, realm.CodeReadOnly, http.StatusConflict)
	wantError(t, f.DeleteSecret(t.Context(), wx), realm.CodeReadOnly, http.StatusConflict)
	r, err := f.Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.With(&realm.Config{})
	wantError(t, err, realm.CodeReadOnly, http.StatusConflict)
	if same, err := r.With(nil); err != nil || same != r {
		t.Errorf("%v %v", same, err)
	}
	f.reported(t)
	if info, err := f.RealmInfo(t.Context(), "wx"); err != nil || !info.ReadOnly || info.ID != "wx" {
		t.Errorf("%+v %v", info, err)
	}

	other := realm.Ref{Realm: "wx", Key: "other"}
	f.saveSecret(t, other, "key_1", "app1", "key_2", "s3cret-value")
	list, total, err := f.Secrets(t.Context(), firstPage, tokenstore.SecretFilter{Realm: "wx"})
	if err != nil || total != 2 || list[0].Ref != wx || !list[0].ReadOnly || list[1].Ref != other || list[1].ReadOnly {
		t.Fatalf("%v %d %v", list, total, err)
	}
	for ref, want := range map[realm.Ref]bool{wx: true, other: false} {
		if info, err := f.SecretInfo(t.Context(), ref); err != nil || info.ReadOnly != want || info.Ref != ref {
			t.Errorf("%v: %v %v", ref, info, err)
		}
	}
	_, err = f.SecretInfo(t.Context(), realm.Ref{Realm: "wx", Key: "nobody"})
	wantError(t, err, realm.CodeSecretNotFound, http.StatusNotFound)
}

// TestLongRealmOfBefore: one that an earlier version saved is shown and used, and is
// shortened by the next change.
func TestLongRealmOfBefore(t *testing.T) {
	f := ready(t)
	long := wechat()
	for i := range 12 {
		long.Arguments = append(long.Arguments, realm.Argument{Place: realm.PlaceURL, Name: fmt.Sprint("a", i), Value: strings.Repeat("x", 4_500)})
	}
	if _, err := f.store.UpdateRealm(t.Context(), "wx", becomes(long)); err != nil {
		t.Fatal(err)
	}
	f.cache.Recheck(t.Context(), realm.Ref{Realm: "wx"})
	if info, err := f.RealmInfo(t.Context(), "wx"); err != nil || len(info.Config.Arguments) < 12 {
		t.Errorf("it is not shown: %v", err)
	}
	if _, err := f.Realm(t.Context(), "wx"); err != nil {
		t.Errorf("it is not used: %v", err)
	}
	var wrong *realm.FieldError
	if _, err := f.SaveRealm(t.Context(), "wx", becomes(long)); !errors.As(err, &wrong) || wrong.Field != "config" {
		t.Errorf("it is saved anew: %v", err)
	}
	if _, err := f.SaveRealm(t.Context(), "wx", becomes(wechat())); err != nil {
		t.Errorf("a shorter one: %v", err)
	}
}

// The realms of the configuration come first; a stored one of the same id is
// not found by name.
func TestRealms(t *testing.T) {
	second := defined()
	second.Realm.ID, second.Realm.Comment = "b", "The Second"
	f := newFixture(t, defined(), second)
	f.saveRealm(t, "stored", wechat())
	for keyword, want := range map[string][]string{"": {"wx", "b", "stored"}, "second": {"b"}, "STO": {"stored"}, "nobody": nil} {
		list, total, err := f.Realms(t.Context(), firstPage, tokenstore.RealmFilter{Keyword: keyword})
		var ids []string
		for _, r := range list {
			ids = append(ids, r.ID)
			if r.ReadOnly != f.IsDefined(r.ID) {
				t.Errorf("%s: read-only %v", r.ID, r.ReadOnly)
			}
		}
		if err != nil || total != len(want) || !slices.Equal(ids, want) {
			t.Errorf("%q: %v %d %v", keyword, ids, total, err)
		}
	}
	if ids := f.Defined(); !slices.Equal(ids, []string{"wx", "b"}) {
		t.Errorf("defined: %v", ids)
	}
	_, err := f.RealmInfo(t.Context(), "nobody")
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
}

func TestBadInputStoresNothing(t *testing.T) {
	f := ready(t)
	var field *realm.FieldError
	_, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: realm.Ref{Realm: "nobody", Key: "k"}})
	wantError(t, err, realm.CodeRealmNotFound, http.StatusBadRequest)
	_, err = f.SaveRealm(t.Context(), "wx", func(r realm.Realm, found bool) (realm.Realm, error) {
		if !found || r.Config.TokenPath != "access_token" {
			t.Errorf("the stored realm was not handed over: %+v", r)
		}
		r.Config.Arguments[0].Value = "{secret.}"
		return r, nil
	})
	if !errors.As(err, &field) || field.Field != "config.arguments[0].value" || errors.As(err, new(*realm.Error)) {
		t.Fatalf("got %v, want the field and nothing about the store", err)
	}
	info, err := f.RealmInfo(t.Context(), "wx")
	if err != nil || info.Config.Arguments[0].Value != "$key_1" {
		t.Fatalf("%+v %v", info, err)
	}
	f.reported(t)
}

// A realm that names a preset is stored as it was written, and compiled as the
// preset says.
func TestPreset(t *testing.T) {
	f := newFixture(t)
	f.saveRealm(t, "sn", realm.Config{Preset: "suning", DefaultKey: "main"})
	info, err := f.RealmInfo(t.Context(), "sn")
	if err != nil || info.Config.Preset != "suning" || info.Config.Authorize != nil {
		t.Fatalf("%+v %v", info, err)
	}
	r, err := f.Realm(t.Context(), "sn")
	if err != nil || r.Config.Authorize == nil || r.Config.DefaultKey != "main" || !r.Program.CanAuthorize() {
		t.Fatalf("%+v %v", r, err)
	}
	for config, field := range map[*realm.Config]string{
		{Preset: "nobody"}: "config.preset",
		{Preset: "suning", Grant: &realm.Grant{Name: "client_credentials"}}:      "config.grant.token_url",
		{Preset: "jd_vop", Recipe: realm.Recipe{URL: "https://x.example/token"}}: "config.unattended",
		{Preset: "suning", Authorize: &realm.Recipe{Arguments: []realm.Argument{
			{Name: "state", Place: realm.PlaceURL, Value: "{state}"},
		}}}: "config.authorize.url",
	} {
		_, err := f.SaveRealm(t.Context(), "sn", becomes(*config))
		var wrong *realm.FieldError
		if !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%v, want %s", err, field)
		}
	}
}

// A key that stands in the configuration and in the store is one secret.
func TestKeysOfBoth(t *testing.T) {
	f := ready(t) // the configuration before defined nothing
	f.saveSecret(t, realm.Ref{Realm: "wx", Key: "second"}, "key_1", "app")
	after, err := New(f.cache, []Definition{defined()}, false)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := after.Keys(t.Context(), "wx")
	if err != nil || !slices.Equal(keys, []string{"main", "second"}) {
		t.Fatalf("%v %v", keys, err)
	}
}

// There may be more secrets than are read at a time.
func TestKeysOfARealm(t *testing.T) {
	f := ready(t)
	config := wechat()
	config.DefaultKey = "main"
	f.saveRealm(t, "wx", config)
	for i := range eachPage + 100 {
		f.saveSecret(t, realm.Ref{Realm: "wx", Key: fmt.Sprintf("k%03d", i)}, "key_1", "app")
	}
	keys, err := f.Keys(t.Context(), "wx")
	if err != nil || len(keys) != eachPage+101 || !slices.IsSorted(keys) || keys[0] != "k000" {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if key, err := f.DefaultKey(t.Context(), "wx"); err != nil || key != "main" {
		t.Fatalf("%q %v", key, err)
	}
	_, err = f.Keys(t.Context(), "nobody")
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
}

// EachSecret finds the secrets of the configuration and those of the store, of
// the realms that are wanted. Without the store, those of the configuration.
func TestEachSecret(t *testing.T) {
	f := newFixture(t, defined())
	stored, other := realm.Ref{Realm: "stored", Key: "k"}, realm.Ref{Realm: "wx", Key: "other"}
	f.saveRealm(t, "stored", wechat())
	f.saveRealm(t, "unwanted", wechat())
	for _, ref := range []realm.Ref{stored, other, {Realm: "unwanted", Key: "k"}} {
		f.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
	}
	each := func() (found []realm.Ref, err error) {
		n, err := f.EachSecret(t.Context(), func(r *Realm) bool { return r.Written.ID != "unwanted" }, func(ref realm.Ref) {
			found = append(found, ref)
		})
		if n != len(found) {
			t.Errorf("counted %d of %d", n, len(found))
		}
		return found, err
	}
	if found, err := each(); err != nil || !slices.Equal(found, []realm.Ref{wx, other, stored}) {
		t.Errorf("%v %v", found, err)
	}
	f.store.away.Store(true)
	if found, err := each(); !errors.Is(err, tokenstore.ErrUnavailable) || !slices.Equal(found, []realm.Ref{wx}) {
		t.Errorf("without the store: %v %v", found, err)
	}
}

// TestTwinOfTheFile: what the configuration file defines counts, too. What is
// there already goes on.
func TestTwinOfTheFile(t *testing.T) {
	f := newFixture(t, defined())
	_, err := f.SaveRealm(t.Context(), "WX", becomes(wechat()))
	wantError(t, err, realm.CodeConflict, 409)
	if !strings.Contains(err.Error(), `"wx"`) {
		t.Errorf("the other one is not named: %v", err)
	}
	twin := realm.Ref{Realm: "wx", Key: "MAIN"}
	_, err = f.SaveSecret(t.Context(), SecretUpdate{Ref: twin, Fields: values("key_1", "app", "key_2", "s3cret-value")})
	wantError(t, err, realm.CodeConflict, 409)
	if !strings.Contains(err.Error(), `"main"`) {
		t.Errorf("the other one is not named: %v", err)
	}

	without, err := New(f.cache, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	operators := f.Catalog
	f.Catalog = without
	f.saveRealm(t, "WX", wechat())
	f.Catalog = operators
	f.saveRealm(t, "WX", wechat())
	_, err = f.SaveRealm(t.Context(), "Wx", becomes(wechat()))
	wantError(t, err, realm.CodeConflict, 409)
}

// TestSurveyIsBounded: of a realm with very many secrets, the newest are looked at, and
// the warning says so.
func TestSurveyIsBounded(t *testing.T) {
	f := newFixture(t)
	before := wechat()
	before.Arguments = before.Arguments[:1]
	if _, err := f.SaveRealm(t.Context(), "wx", becomes(before)); err != nil {
		t.Fatal(err)
	}
	f.saveSecret(t, realm.Ref{Realm: "wx", Key: "oldest"}, "key_1", "a")
	f.saveSecret(t, realm.Ref{Realm: "wx", Key: "second"}, "key_1", "a")
	for i := range maxSurveyed - 1 {
		f.saveSecret(t, realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}, "key_1", "a", "key_2", "b")
	}
	info, err := f.SaveRealm(t.Context(), "wx", becomes(wechat()))
	const want = "[1 of the newest 1000 secrets cannot be used with the realm, such as second: fields.key_2: is missing]"
	if got := fmt.Sprint(info.Warnings); err != nil || got != want {
		t.Errorf("%v %s", err, got)
	}
}

// TestSurveyTakesASecond: secrets whose private keys take long once held up the answer
// until the store was given up, and a realm that was saved was answered with 503.
func TestSurveyTakesASecond(t *testing.T) {
	f := newFixture(t)
	before := wechat()
	before.Arguments = before.Arguments[:1]
	f.saveRealm(t, "wx", before)
	for _, key := range []string{"oldest", "second", "newest"} {
		f.saveSecret(t, realm.Ref{Realm: "wx", Key: key}, "key_1", "a")
	}
	f.step = time.Second/2 - 1
	info, err := f.SaveRealm(t.Context(), "wx", becomes(wechat()))
	const want = "[2 of the newest 2 secrets cannot be used with the realm, such as newest: fields.key_2: is missing]"
	if got := fmt.Sprint(info.Warnings); err != nil || got != want {
		t.Errorf("%v %s", err, got)
	}
}
