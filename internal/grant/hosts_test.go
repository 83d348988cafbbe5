package grant

import (
	"slices"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestHosts: every way that a value can leave by is a host.
func TestHosts(t *testing.T) {
	const recipe = `"url":"https://T.example/t","token_path":"t"`
	for _, c := range []struct {
		config, logic string
		shared, hosts []string
	}{
		{`{}`, "", nil, []string{"token:token"}},
		{
			`{"grant":{"name":"static","token":"{secret.id}.{secret.token}"},"shared":{"id":"7"}}`, "",
			[]string{"token:id"},
			[]string{"token:id", "token:token"},
		},
		{
			`{"token_path":"t","authorize":{"url":"https://x.example/a?s={state}&c={secret.id}","arguments":[{"name":"h","place":"url","expr":"hex(secret.shop)"}]},
				"exchange":{"url":"https://e.example/e?c={code}","arguments":[{"name":"p","place":"body","value":"{secret.password}"}]},
				"callback_url":"https://me.example/","shared":{"id":"7"}}`, "",
			[]string{"e.example", "link:id", "x.example"},
			[]string{"e.example", "link:id", "link:shop", "x.example"},
		},
		{`{` + recipe + `}`, "", []string{"t.example"}, []string{"t.example"}},
		{`{"url":"https://t.example:443/t","token_path":"t"}`, "", []string{"t.example"}, []string{"t.example"}},
		{`{"url":"https://t.example:8443/t","token_path":"t"}`, "", []string{"t.example:8443"}, []string{"t.example:8443"}},
		{`{"url":"http://t.example/t","token_path":"t","allow_http":true}`, "", []string{"http://t.example"}, []string{"http://t.example"}},
		{`{"url":"http://t.example:443/t","token_path":"t","allow_http":true}`, "", []string{"http://t.example:443"}, []string{"http://t.example:443"}},
		{`{"url":"http://[::1]/t","token_path":"t","allow_http":true}`, "", []string{"http://[::1]"}, []string{"http://[::1]"}},
		{`{` + recipe + `,"api":"https://a.example/x"}`, "", []string{"a.example", "t.example"}, []string{"a.example", "t.example"}},
		{
			`{` + recipe + `,"api":"https://a.example/x","hosts":["*.b.example","c.example:81"]}`, "",
			[]string{"*.b.example", "a.example", "c.example:81", "t.example"},
			[]string{"*.b.example", "a.example", "c.example:81", "t.example"},
		},
		{
			`{` + recipe + `,"refresh":{"url":"https://r.example/?r={refresh_token}"}}`, "",
			[]string{"r.example", "t.example"},
			[]string{"r.example", "t.example"},
		},
		{
			`{"token_path":"t","authorize":{"url":"https://x.example/a?s={state}"},"exchange":{"url":"https://e.example/e?c={code}"},"callback_url":"https://me.example/"}`, "",
			[]string{"e.example", "x.example"},
			[]string{"e.example", "x.example"},
		},
		{
			`{"grant":{"name":"client_credentials","token_url":"https://g.example/t","client_id":"a","client_secret":"b"}}`, "",
			[]string{"g.example"},
			[]string{"g.example"},
		},
		{`{}`, "https://l.example/", []string{"l.example"}, []string{"l.example"}},
		{`{"grant":{"name":"delegate","token_url":"https://d.example/"}}`, "", []string{"d.example"}, []string{"d.example"}},
		{
			`{"url":"https://{secret.shop}.t.example/t","token_path":"t","api":"https://{secret.none}.example"}`, "",
			[]string{"{secret.none}.example", "{secret.shop}.t.example"},
			[]string{"one.t.example"},
		},
		{
			`{"url":"https://{secret.region}.t.example/t","token_path":"t","shared":{"region":"cn"}}`, "",
			[]string{"cn.t.example"},
			[]string{"cn.t.example"},
		},
		{
			`{"url":"https://{secret.shop}.t.example/t","token_path":"t","shared":{"shop":"two"}}`, "",
			[]string{"two.t.example"},
			[]string{"one.t.example"},
		},
		{
			`{"token_path":"t","authorize":{"url":"https://x.example/a?s={state}"},"exchange":{"url":"https://e.example/e?c={code}"},
				"callback_url":"http://me.example/{secret.shop}"}`, "",
			[]string{"e.example", "http://me.example", "x.example"},
			[]string{"e.example", "http://me.example", "x.example"},
		},
		{
			`{"token_path":"t","authorize":{"url":"https://x.example/a?s={state}"},"exchange":{"url":"https://e.example/e?c={code}"},
				"callback_url":"{secret.back}"}`, "",
			[]string{"e.example", "x.example"},
			[]string{"e.example", "x.example"},
		},
		{`{"url":"https://{secret.evil}/t","token_path":"t"}`, "", []string{"{secret.evil}"}, nil}, // no part of a host
	} {
		r := realmOf(t, c.config, "")
		r.LogicCode = c.logic
		p, err := Compile(r, false)
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		if got := namesOf(p.SharedHosts(realm.Secret{})); !slices.Equal(got, c.shared) {
			t.Errorf("%s: of the shared fields %q", c.config, got)
		}
		s := secretOf(map[string]string{"shop": "One", "evil": "x/y", "back": "HTTPS://Back.example:8080/x"})
		if got := namesOf(p.Hosts(s)); !slices.Equal(got, c.hosts) {
			t.Errorf("%s: hosts %q", c.config, got)
		}
	}
}

func namesOf(hosts []Host) (names []string) {
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}

// TestHostsAsWritten: what a secret fills in is confidential, also where it
// stands in a host. With the value, an error would tell it.
func TestHostsAsWritten(t *testing.T) {
	p, err := Compile(realmOf(t, `{"url":"https://{secret.shop}.{secret.region}.example/t","token_path":"t","shared":{"region":"cn"}}`, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	const written = "{secret.shop}.{secret.region}.example"
	s := secretOf(map[string]string{"shop": "s3cret"})
	for what, c := range map[string]struct {
		hosts []Host
		want  Host
	}{
		"of a secret":                      {p.Hosts(s), Host{"s3cret.cn.example", written}},
		"of the shared fields":             {p.SharedHosts(realm.Secret{}), Host{"{secret.shop}.cn.example", written}},
		"of the shared fields, overridden": {p.SharedHosts(secretOf(map[string]string{"region": "x"})), Host{written, written}},
		"as they are written":              {p.WrittenHosts(), Host{written, written}},
	} {
		if !slices.Equal(c.hosts, []Host{c.want}) {
			t.Errorf("%s: %q", what, c.hosts)
		}
	}
}
