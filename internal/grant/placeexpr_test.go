package grant

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What an expression reads decides when it is computed: once for the token, or
// for each request.
func TestPlaceComputed(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for expr, want := range map[string]struct{ atOnce, perRequest string }{
		"token + '.' + secret.sid":                 {"T.AC1", ""},
		"md5(token)":                               {"b9ece18c950afbfa6b0fdbfa4ff731d3", ""},
		"token + ' ' + method + ' ' + path":        {"", "T POST /v1/a%2Fb"},
		"token + string(epoch_s())":                {"", "T1795341600"},
		"token + now('20060102', 'UTC')":           {"", "T20261122"},
		"path == '/v1/a%2Fb' ? token : secret.sid": {"", "T"},
	} {
		b := injecting(t, realm.Injection{Place: "header", Name: "X-Sign", Expr: expr}, realm.Injection{Place: "url", Name: "t"})
		values, _, err := b.Place("T")
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if diff := cmp.Diff([]string{want.atOnce, "T"}, values); diff != "" {
			t.Errorf("%s: %s", expr, diff)
		}
		computed := b.PerRequest("T", values)
		if (computed != nil) != (want.perRequest != "") {
			t.Errorf("%s: computed for each request: %v", expr, computed != nil)
		}
		if computed == nil {
			continue
		}
		got, err := computed(realm.Outgoing{Method: "POST", Path: "/v1/a%2Fb", Now: now})
		if diff := cmp.Diff([]string{want.perRequest, "T"}, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", expr, err, diff)
		}
		if values[0] != "" {
			t.Errorf("%s: the values that all requests share were changed", expr)
		}
	}
}

// Each place writes what was computed as it writes a template.
func TestPlaceComputedAnywhere(t *testing.T) {
	b := injecting(t,
		realm.Injection{Place: "url", Name: "sign", Expr: "token + '&' + path"}, realm.Injection{Place: "basic", Name: "{secret.sid}", Expr: "token + method"},
		realm.Injection{Place: "cookie", Name: "c", Expr: "token + uuid()"}, realm.Injection{Place: "path", Name: "x", Expr: "token + path"},
		realm.Injection{Place: "body", Name: "f", Expr: "path + ' \"'"})
	values, _, err := b.Place("T")
	if err != nil {
		t.Fatal(err)
	}
	computed := b.PerRequest("T", values)
	out := realm.Outgoing{Method: "GET", Path: "/a"}
	got, err := computed(out)
	if err != nil {
		t.Fatal(err)
	}
	again, err := computed(out)
	if err != nil || got[2] == again[2] || len(got[2]) != len("T")+36 {
		t.Errorf("the UUID of a request: %q, %q, %v", got[2], again[2], err)
	}
	got[2] = ""
	if diff := cmp.Diff([]string{"T%26%2Fa", basic("AC1:TGET"), "", "T%2Fa", `/a "`}, got); diff != "" {
		t.Error(diff)
	}
	var public []bool
	for _, p := range b.Target().Inject {
		public = append(public, p.Public)
	}
	if diff := cmp.Diff([]bool{false, false, false, false, true}, public); diff != "" {
		t.Errorf("what is confidential: %s", diff)
	}
}

// An error names the field and never a value.
func TestPlaceComputedFails(t *testing.T) {
	for expr, place := range map[string]string{
		"token + hex(rsa('sha256', secret.sid, path))": "header",
		"token + method + ' x'":                        "cookie",
		"token == path ? 'x' : ''":                     "header",
	} {
		b := injecting(t, realm.Injection{Place: place, Name: "a", Expr: expr})
		values, _, err := b.Place("CANARY")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.PerRequest("CANARY", values)(realm.Outgoing{Method: "GET", Path: "/CANARY"})
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != "config.inject[0].expr" || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "AC1") {
			t.Errorf("%s: %v", expr, err)
		}
	}
	b := injecting(t, realm.Injection{Place: "header", Name: "a", Expr: "token + hex(rsa('sha256', secret.sid, 'x'))"})
	if _, _, err := b.Place("CANARY"); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("at once: %v", err)
	}
}

func TestCompileRefusesComputedPlaces(t *testing.T) {
	many := make([]realm.Injection, maxComputed+1)
	for i := range many {
		many[i] = realm.Injection{Place: "url", Name: strings.Repeat("a", i+1), Expr: "token"}
	}
	for want, inject := range map[string][]realm.Injection{
		"config.inject: no value holds {token}":                      {{Place: "url", Name: "a", Expr: "path + secret.sid"}},
		"config.inject[0].expr: cannot read args":                    {{Place: "url", Name: "a", Expr: "token + args.x"}},
		"config.inject[0].expr: code is not known here":              {{Place: "url", Name: "a", Expr: "token + code"}},
		"config.inject[1].expr: line 1":                              {{Place: "url", Name: "a"}, {Place: "url", Name: "b", Expr: "token +"}},
		`config.inject[0].expr: secret["a b"] does not name a field`: {{Place: "url", Name: "a", Expr: "token + secret['a b']"}},
		"config.inject[16].expr: is one too many":                    many,
	} {
		_, err := Compile(realm.Realm{ID: "x", Config: realm.Config{API: "https://api.example.com", Inject: inject}}, false)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The fields that an expression reads are needed, go where the token goes, and
// are bound to the hosts of the realm; those that decide something count as shown.
func TestFieldsOfComputedPlaces(t *testing.T) {
	r := realm.Realm{ID: "x", Config: realm.Config{
		API: "https://api.example.com", Inject: []realm.Injection{{Place: "header", Name: "A", Expr: "secret.mode == 'a' ? token : hex(hmac('sha256', secret.key, path))"}},
	}}
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Bind(secretOf(map[string]string{"token": "T", "mode": "a"})); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("bound without a field that is read: %v", err)
	}
	var reads, shown []string
	for _, d := range p.destinations() {
		if d.field == "config.api" {
			reads = d.reads
		}
	}
	for _, h := range p.Hosts(secretOf(map[string]string{"token": "T", "mode": "a", "key": "k"})) {
		shown = append(shown, h.Name)
	}
	if diff := cmp.Diff([]string{"key", "mode", "token"}, sortedSet(reads)); diff != "" {
		t.Errorf("reads: %s", diff)
	}
	if list := strings.Join(shown, " "); !strings.Contains(list, "judged:mode") || strings.Contains(list, "judged:key") {
		t.Errorf("shown: %s", list)
	}
}
