package grant

import (
	"errors"
	"slices"
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

// A random value of an expression belongs to one request: all its expressions have
// the same, and the next request has another.
func TestPlaceComputedAtRandom(t *testing.T) {
	b := injecting(t, realm.Injection{Place: "header", Name: "A", Expr: "token + random_hex(16)"},
		realm.Injection{Place: "url", Name: "b", Expr: "token + random_hex(16)"}, realm.Injection{Place: "url", Name: "t"})
	values, _, err := b.Place("T")
	if err != nil {
		t.Fatal(err)
	}
	computed := b.PerRequest("T", values)
	if computed == nil {
		t.Fatalf("computed once for all requests: %q", values)
	}
	seen := make(map[string]bool)
	for range 3 {
		got, err := computed(realm.Outgoing{})
		if err != nil || len(got[0]) != 1+32 || got[0] != got[1] || strings.Contains(got[0], strings.Repeat("0", 16)) {
			t.Errorf("%q, %v", got, err)
		}
		seen[got[0]] = true
	}
	if len(seen) != 3 {
		t.Errorf("requests shared a value: %v", seen)
	}
}

// What an expression reads of the answer is kept with the token, as {answer.x} is,
// whether it is computed once or for each request.
func TestPlaceComputedOfAnswer(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"t":"T","instance_url":"https://a.example","user":{"id":7},"k":"K"}`))
	b := bind(t, realmOf(t, `{"url":"@/t","token_path":"t","refresh":{"url":"@/r","arguments":[{"name":"r","place":"url","value":"{refresh_token}{answer.k}"}]},"inject":[
		{"place":"header","name":"A","expr":"md5(answer.instance_url) + token"},{"place":"header","name":"B","expr":"answer['user.id'] + '-' + answer.user.id + path"},
		{"place":"basic","name":"{answer.instance_url}","expr":"token + method"}]}`, p.URL), nil)
	got, err := b.Fetch(t.Context(), testClient(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if want := keptOf("answer.instance_url", "https://a.example", "answer.user.id", "7", "answer.k", "K"); got.Token.Kept != want {
		t.Fatalf("kept %v", got.Token.Kept.Reveal())
	}
	with := b.With(got.Token.Kept)
	values, _, err := with.Place("T")
	// printf %s https://a.example | md5sum
	if want := []string{"f1e9de895bf5363a3cc0582708c7ce76T", "", ""}; !slices.Equal(values, want) || err != nil {
		t.Errorf("%q, %v", values, err)
	}
	sent, err := with.PerRequest("T", values)(realm.Outgoing{Method: "GET", Path: "/p"})
	if want := []string{values[0], "7-7/p", basic("https://a.example:TGET")}; !slices.Equal(sent, want) || err != nil {
		t.Errorf("%q, %v", sent, err)
	}
	for _, place := range b.Target().Inject {
		if place.Public {
			t.Errorf("%s is not masked", place.Name)
		}
	}
	if _, _, err := b.With("").Place("T"); err == nil || err.Error() != "answer.instance_url: is not kept with the token; inject needs it" {
		t.Error(err)
	}
	if _, _, err := b.WithSample().Place("T"); err != nil {
		t.Error(err)
	}
}

// What the provider sent with the token is masked where it is injected alone.
func TestKeptIsNotPublic(t *testing.T) {
	for _, in := range []realm.Injection{{Value: "{answer.x}"}, {Expr: "answer.x"}, {Expr: "answer.x + path"}} {
		in.Place, in.Name = realm.PlaceHeader, "X"
		config := realm.Config{Inject: []realm.Injection{in, {Place: realm.PlaceURL, Name: "t"}, {Place: realm.PlaceHeader, Name: "P", Value: "p"}}}
		config.URL, config.TokenPath, config.API = "https://x.example/t", "t", "https://a.example"
		p, err := Compile(realm.Realm{ID: "x", Config: config}, false)
		if err != nil {
			t.Fatal(err)
		}
		if places := p.places(); places[0].Public || !places[2].Public {
			t.Errorf("%+v: %+v", in, places)
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
		"config.inject: no value holds {token}":                                                      {{Place: "url", Name: "a", Expr: "path + secret.sid"}},
		"config.inject[0].expr: args is not known here":                                              {{Place: "url", Name: "a", Expr: "token + args.x"}},
		"config.inject[0].expr: code is not known here: secret.x, token, answer.x, method, path are": {{Place: "url", Name: "a", Expr: "token + code"}},
		`config.inject[0].expr: answer["a..b"] does not name a field of the answer`:                  {{Place: "url", Name: "a", Expr: "token + answer['a..b']"}},
		"config.inject: reads {answer.x}, and a fixed token comes without an answer":                 {{Place: "url", Name: "a", Expr: "token + answer.x"}},
		"config.inject[1].expr: line 1":                                                              {{Place: "url", Name: "a"}, {Place: "url", Name: "b", Expr: "token +"}},
		`config.inject[0].expr: secret["a b"] does not name a field`:                                 {{Place: "url", Name: "a", Expr: "token + secret['a b']"}},
		"config.inject[16].expr: is one too many":                                                    many,
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
