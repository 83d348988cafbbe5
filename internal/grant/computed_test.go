package grant

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Realms of which an argument is computed.
const (
	// Pinduoduo: the timestamp is computed as well, and signed with the rest.
	pddRealm = `{"url":"@/api/router","method":"POST","token_path":"t","arguments":[
		{"name":"type","place":"body","value":"pdd.pop.auth.token.create"},
		{"name":"client_id","place":"body","value":"$client_id"},
		{"name":"code","place":"url","value":"CODE-1"},
		{"name":"X-Trace","place":"header","value":"no parameter"},
		{"name":"data_type","place":"body","value":"JSON"},
		{"name":"sign","place":"body","expr":"upper(md5(secret.client_secret + sorted_join(args, '', '') + secret.client_secret))"},
		{"name":"timestamp","place":"body","expr":"epoch_s()"}]}`

	// JD, providers.md: a signature of named arguments.
	jdBillRealm = `{"url":"@/oauth2/accessToken","method":"POST","content_type":"form","token_path":"t","arguments":[
		{"name":"grant_type","place":"body","value":"access_token"},{"name":"client_id","place":"body","value":"$client_id"},
		{"name":"timestamp","place":"body","expr":"now('2006-01-02 15:04:05', 'Asia/Shanghai')"},
		{"name":"username","place":"body","value":"buyer"},{"name":"password","place":"body","expr":"md5(secret.password)"},{"name":"scope","place":"body","value":""},
		{"name":"sign","place":"body","expr":"upper(md5(secret.client_secret + args.timestamp + args.client_id + args.username + args.password + args.grant_type + args.scope + secret.client_secret))"}]}`
)

var signing = map[string]string{"client_id": "PDDID", "client_secret": "PDDSECRET", "password": "password"}

// sentBy fetches once and returns the request.
func sentBy(t *testing.T, config string, fields map[string]string, req Request) seen {
	t.Helper()
	p := newProvider(t, answering(200, "", `{"t":"TOKEN-0123456789"}`))
	if _, err := bind(t, realmOf(t, config, p.URL), fields).Fetch(t.Context(), testClient(t), req); err != nil {
		t.Fatal(err)
	}
	return p.requests[0]
}

// printf %s PDDSECRETclient_idPDDIDcodeCODE-1data_typeJSONtimestamp1795348800typepdd.pop.auth.token.createPDDSECRET | md5sum
func TestSignatureOfAllArguments(t *testing.T) {
	r := sentBy(t, pddRealm, signing, Request{})
	want := `{"type":"pdd.pop.auth.token.create","client_id":"PDDID","data_type":"JSON","sign":"D77A5249C9A0A1137DF94D172871639B","timestamp":1795348800}`
	if r.body != want || r.query != "code=CODE-1" {
		t.Errorf("sent %s %s\nwant %s", r.query, r.body, want)
	}
}

// printf %s 'PDDSECRET2026-11-22 20:00:00PDDIDbuyer5f4dcc3b5aa765d61d8327deb882cf99access_tokenPDDSECRET' | md5sum
func TestSignatureOfNamedArguments(t *testing.T) {
	form, err := url.ParseQuery(sentBy(t, jdBillRealm, signing, Request{}).body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"timestamp": "2026-11-22 20:00:00", "password": "5f4dcc3b5aa765d61d8327deb882cf99", "sign": "D40F4D8968F71CD0239A0FE0C318A281", "scope": "",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// A computed argument stands wherever another may, and in JSON with its type.
func TestComputedPlaces(t *testing.T) {
	r := sentBy(t, `{"url":"@/app/{id}/t","method":"POST","token_path":"t","arguments":[
		{"name":"id","place":"path","expr":"secret.client_id + '/'"},{"name":"q","place":"url","expr":"'a b&' + string(force)"},
		{"name":"X-Id","place":"header","expr":"lower(secret.client_id)"},{"name":"$client_id","place":"basic","expr":"md5('x')"},
		{"name":"a.s","place":"body","expr":"'\"'"},{"name":"a.n","place":"body","expr":"1 + 1"},{"name":"f","place":"body","expr":"force"},
		{"name":"ns","place":"body","type":"string","expr":"1 + 1"},{"name":"sn","place":"body","type":"number","expr":"string(2) + '.5'"}]}`, signing, Request{Force: true})
	if r.path != "/app/PDDID%2F/t" || r.query != "q=a%20b%26true" || r.header.Get("X-Id") != "pddid" {
		t.Errorf("sent %+v", r)
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("PDDID:9dd4e461268c8034f5c8564e155c67a6")); r.header.Get("Authorization") != want {
		t.Errorf("authorization %q", r.header.Get("Authorization"))
	}
	if want := `{"a":{"s":"\"","n":2},"f":true,"ns":"2","sn":2.5}`; r.body != want {
		t.Errorf("body %s", r.body)
	}
	text := sentBy(t, `{"url":"@/t","method":"PUT","content_type":"text","token_path":"t","arguments":[{"name":"","place":"body","expr":"'<t>' + secret.client_id + '</t>'"}]}`, signing, Request{})
	if text.body != "<t>PDDID</t>" {
		t.Errorf("text %q", text.body)
	}
}

// A list or a map stands in a JSON body as what it is, and elsewhere as a text
// that json makes. Signed is the text, byte by byte, as it is sent.
func TestComputedJSON(t *testing.T) {
	const config = `{"url":"@/t","method":"POST","token_path":"t","arguments":[
		{"name":"q","place":"url","expr":"json([secret.client_id])"},
		{"name":"a.methods","place":"body","expr":"['password', {'id': secret.client_id, 'n': 9007199254740993, 'f': 0.1}]"},
		{"name":"empty","place":"body","expr":"[]"},
		{"name":"text","place":"body","type":"string","expr":"{'<': true}"},
		{"name":"sign","place":"body","expr":"md5(args['a.methods'])"}]}`
	r := sentBy(t, config, signing, Request{})
	// printf %s '["password",{"f":0.1,"id":"PDDID","n":9007199254740993}]' | md5sum
	const want = `{"a":{"methods":["password",{"f":0.1,"id":"PDDID","n":9007199254740993}]},"empty":[],"text":"{\"\u003c\":true}","sign":"735e1a97896b27b4a1c89fd187cf785a"}`
	if r.body != want || r.query != "q=%5B%22PDDID%22%5D" {
		t.Errorf("sent %s %s", r.query, r.body)
	}
	var report Report
	p := newProvider(t, answering(200, "", `{"t":"TOKEN-0123456789"}`))
	if _, err := bind(t, realmOf(t, config, p.URL), signing).Fetch(t.Context(), testClient(t), Request{Report: &report}); err != nil {
		t.Fatal(err)
	}
	if masked := `{"a":{"methods":"` + realm.Mask + `"},"empty":"` + realm.Mask + `"`; !strings.HasPrefix(report.Request.Body, masked) {
		t.Errorf("shown %s", report.Request.Body)
	}
}

// One random value serves a whole request, and the next one has another.
func TestOneRandomValue(t *testing.T) {
	const config = `{"url":"@/t","token_path":"t","arguments":[{"name":"a","place":"url","expr":"random_hex(16)"},{"name":"b","place":"url","expr":"random_hex(16)"}]}`
	first, second := sentBy(t, config, nil, Request{}).query, sentBy(t, config, nil, Request{}).query
	form := regexp.MustCompile(`^a=([0-9a-f]{32})&b=([0-9a-f]{32})$`)
	for _, query := range []string{first, second} {
		if m := form.FindStringSubmatch(query); m == nil || m[1] != m[2] {
			t.Errorf("sent %s", query)
		}
	}
	if first == second {
		t.Errorf("sent %s twice", first)
	}
}

// One request has one instant and one UUID, the next one others.
func TestOneInstantAndOneUUID(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"t":"TOKEN-0123456789"}`))
	const config = `{"url":"@/t","token_path":"t","arguments":[{"name":"a","place":"url","expr":"string(epoch_ms()) + uuid()"},
		{"name":"b","place":"url","expr":"string(epoch_ms()) + uuid()"},{"name":"c","place":"url","expr":"args.a == args.b"}]}`
	client, at := testClient(t), noon
	client.now = func() time.Time { at = at.Add(time.Millisecond); return at }
	b := bind(t, realmOf(t, config, p.URL), nil)
	for range 2 {
		if _, err := b.Fetch(t.Context(), client, Request{}); err != nil {
			t.Fatal(err)
		}
	}
	form := regexp.MustCompile(`^a=(\d{13}[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})&b=(.*)&c=true$`)
	first, second := form.FindStringSubmatch(p.requests[0].query), form.FindStringSubmatch(p.requests[1].query)
	if first == nil || second == nil || first[1] != first[2] || first[1] == second[1] || first[1][13:] == second[1][13:] {
		t.Errorf("sent %q and %q", p.requests[0].query, p.requests[1].query)
	}
}

// TestRefreshIsComputed: an expression may hold the refresh token, and that is
// enough for a refresh recipe.
func TestRefreshIsComputed(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"t":"TOKEN-0123456789"}`))
	b := bind(t, realmOf(t, `{"token_path":"t","refresh":{"url":"@/r","arguments":[{"name":"x","place":"url","expr":"upper(refresh_token) + secret.client_id"}]}}`, p.URL), signing)
	if _, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "refresh"}); err != nil {
		t.Fatal(err)
	}
	if got := p.requests[0].query; got != "x=REFRESHPDDID" {
		t.Errorf("sent %s", got)
	}
}

// TestCompileRefusesExpressions: the field is named, and so is the fault.
func TestCompileRefusesExpressions(t *testing.T) {
	const head = `{"url":"https://x.example/t","method":"POST","token_path":"t","arguments":[{"name":"a","place":"url","value":"b"},`
	arg := func(expr string) string { return `{"name":"s","place":"url","expr":"` + expr + `"}` }
	many := strings.Repeat(`{"name":"s","place":"body","expr":"'x'"},`, maxComputed)
	for i := range maxComputed {
		many = strings.Replace(many, `"s"`, `"s`+string(rune('a'+i))+`"`, 1)
	}
	for _, c := range []struct{ config, field, reason string }{
		{head + arg("md6(secret.x)") + `]}`, "config.arguments[1].expr", "line 1, column 4: undeclared reference to 'md6'"},
		{head + arg("code") + `]}`, "config.arguments[1].expr", "code is not known here: secret.x, args, force are"},
		{head + arg("refresh_token") + `]}`, "config.arguments[1].expr", "refresh_token is not known here: secret.x, args, force are"},
		{head + arg("secret['a b']") + `]}`, "config.arguments[1].expr", `secret["a b"] does not name a field`},
		{head + arg("args.b") + `]}`, "config.arguments[1].expr", `args["b"] is no other argument of the query or the body, or is itself computed from args`},
		{head + arg("args.s") + `]}`, "config.arguments[1].expr", `args["s"] is no other argument of the query or the body, or is itself computed from args`},
		{head + arg("args.d") + `,{"name":"d","place":"body","expr":"args.a"}]}`, "config.arguments[1].expr", `args["d"] is no other argument of the query or the body, or is itself computed from args`},
		{head + arg("args.h") + `,{"name":"h","place":"header","value":"x"}]}`, "config.arguments[1].expr", `args["h"] is no other argument of the query or the body, or is itself computed from args`},
		{head + arg("[secret.x]") + `]}`, "config.arguments[1].expr", "gives a list or a map, which stands in a JSON body only: json() makes a text of it"},
		{head + `{"name":"s","place":"header","expr":"args"}]}`, "config.arguments[1].expr", "gives a list or a map, which stands in a JSON body only: json() makes a text of it"},
		{head + `{"name":"s","place":"body","type":"number","expr":"[1]"}]}`, "config.arguments[1].expr", "gives a list or a map, which stands in a JSON body only: json() makes a text of it"},
		{`{"content_type":"form",` + head[1:] + `{"name":"s","place":"body","expr":"[1]"}]}`, "config.arguments[1].expr", "gives a list or a map, which stands in a JSON body only: json() makes a text of it"},
		{head + arg("sorted_join(args, '', '')") + `,{"name":"a","place":"body","value":"x"}]}`, "config.arguments[1].expr", `cannot read args: there are two arguments "a"`},
		{head + many + arg("'x'") + `]}`, "config.arguments[16].expr", "is one too many: a request has at most 16 computed arguments"},
		{
			`{"url":"https://x/t","token_path":"t","refresh":{"url":"https://x/r","arguments":[` + arg("md5(code)") + `]}}`, "config.refresh.arguments[0].expr",
			"code is not known here: secret.x, args, force, refresh_token are",
		},
		{`{"url":"https://x/t","token_path":"t","refresh":{"url":"https://x/r","arguments":[` + arg("md5(secret.x)") + `]}}`, "config.refresh", "no value holds {refresh_token}"},
		{
			`{"url":"https://x/t","token_path":"t","authorize":{"url":"https://x/r","arguments":[` + arg("code") + `]}}`, "config.authorize.arguments[0].expr",
			"code is not known here: secret.x, args, state, callback_url, code_challenge are",
		},
	} {
		_, err := Compile(realmOf(t, c.config, ""), false)
		field, ok := err.(*realm.FieldError) //nolint:errorlint // Compile promises it
		if !ok || field.Field != c.field || field.Reason != c.reason {
			t.Errorf("%s:\n got %v\nwant %s: %s", c.config, err, c.field, c.reason)
		}
	}
	const exchange = `{"url":"https://x/t","token_path":"t","exchange":{"url":"https://x/e","arguments":[{"name":"s","place":"url","expr":"code + state + callback_url + code_verifier"}]}}`
	if _, err := Compile(realmOf(t, exchange, ""), false); err != nil {
		t.Errorf("the names of an exchange: %v", err)
	}
}

// TestExpressionsCount: what an expression reads is required, decides about
// the token, and makes a recipe one that takes force.
func TestExpressionsCount(t *testing.T) {
	const config = `{"url":"https://x/t","token_path":"t","arguments":[{"name":"s","place":"url","expr":"md5(secret.a + secret['b-c']) + (force ? 'f' : '')"}],"shared":{"b-c":"shared"}}`
	r := realmOf(t, config, "")
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	if !p.TakesForce() {
		t.Error("force does not count")
	}
	if _, err := p.Bind(secretOf(nil)); err == nil || err.Error() != "a: the secret has no such field" {
		t.Errorf("without the field: %v", err)
	}
	one := bind(t, r, map[string]string{"a": "1"}).Fingerprint()
	for name, other := range map[string]realm.Fingerprint{
		"a":              bind(t, r, map[string]string{"a": "2"}).Fingerprint(),
		"b-c":            bind(t, r, map[string]string{"a": "1", "b-c": "own"}).Fingerprint(),
		"the expression": bind(t, realmOf(t, strings.Replace(config, "md5", "sha1", 1), ""), map[string]string{"a": "1"}).Fingerprint(),
	} {
		if other == one {
			t.Errorf("%s does not decide", name)
		}
	}
}

// TestBindRefusesExpressions: what cannot be computed with a secret is told
// when it is saved, without its values.
func TestBindRefusesExpressions(t *testing.T) {
	for _, c := range []struct{ expr, place, want string }{
		{`base64(rsa(secret.k, 'x'))`, "url", "the key is not a private key in PEM or base64 (PKCS#8, PKCS#1 or SEC 1)"},
		{`string(int(secret.k))`, "url", "an operator or a function does not take the values"},
		{`secret.k + '\\n'`, "header", "gives a value that no header can carry with the fields of this secret"},
		{`secret.k`, `body","type":"number`, "is not a number with the fields of this secret"},
	} {
		config := `{"url":"https://x/t","method":"POST","token_path":"t","arguments":[{"name":"s","place":"` + c.place + `","expr":"` + c.expr + `"}]}`
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Bind(secretOf(map[string]string{"k": "CANARY-0123456789"}))
		if err == nil || !strings.HasSuffix(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "config.arguments[0].expr: ") {
			t.Errorf("%s: %v", c.expr, err)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the value is in %v", err)
		}
	}
}

// TestComputedIsConfidential: a dry run masks what was computed, and a
// provider that quotes it is not repeated.
func TestComputedIsConfidential(t *testing.T) {
	key, err := os.ReadFile("../expression/testdata/rsa2048.pem")
	if err != nil {
		t.Fatal(err)
	}
	// The provider refuses and quotes what it was sent.
	var p *provider
	p = newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		assertion := p.requests[len(p.requests)-1].body
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"errcode":1,"errmsg":"bad %s %s"}`, r.URL.Query().Get("sign"), strings.Split(assertion, `"`)[3])
	})
	const config = `{"url":"@/t","method":"POST","token_path":"t","arguments":[{"name":"sign","place":"url","expr":"md5(secret.k)"},
		{"name":"assertion","place":"body","expr":"jwt('RS256', secret.k, {'iat': epoch_s()})"},{"name":"X-Time","place":"header","expr":"epoch_s()"}]}`
	var report Report
	_, err = bind(t, realmOf(t, config, p.URL), map[string]string{"k": string(key)}).Fetch(t.Context(), testClient(t), Request{Report: &report})
	if err == nil {
		t.Fatal("no error")
	}
	shown, jsonErr := json.Marshal(report)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	for _, secret := range []string{"eyJhbGciOi", "1795348800", "PRIVATE KEY"} {
		if strings.Contains(string(shown)+err.Error(), secret) {
			t.Errorf("%s is in %s or %v", secret, shown, err)
		}
	}
	if r := report.Request; r.URL != p.URL+"/t?sign="+realm.Mask || r.Header["X-Time"] != realm.Mask || r.Body != `{"assertion":"`+realm.Mask+`"}` {
		t.Errorf("request %+v", r)
	}
	if !strings.Contains(err.Error(), "bad "+realm.Mask+" "+realm.Mask) {
		t.Errorf("error %v", err)
	}
}
