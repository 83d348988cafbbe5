package grant

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func targetOf(t *testing.T, config string, trusted bool, fields map[string]string) (*realm.Target, error) {
	t.Helper()
	p, err := Compile(realmOf(t, config, ""), trusted)
	if err != nil {
		t.Fatal(err)
	}
	fields["token"] = "T"
	b, err := p.Bind(secretOf(fields))
	if err != nil {
		return nil, err
	}
	return b.Target(), nil
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		config  string
		trusted bool
		api     string
		hosts   []string
	}{
		{`{}`, false, "", nil},
		{`{"hosts":["*.example.com","b.example:8443"]}`, false, "", []string{"*.example.com", "b.example:8443"}},
		{`{"api":"https://API.example.com/v1/"}`, false, "https://API.example.com/v1/", []string{"api.example.com"}},
		{`{"api":"https://api.example.com:8443","hosts":["x.example"]}`, false, "https://api.example.com:8443", []string{"x.example"}},
		{`{"api":"http://api.example.com:8080","allow_http":true}`, false, "http://api.example.com:8080", []string{"api.example.com:8080"}},
		{`{"api":"http://127.0.0.1:8080"}`, true, "http://127.0.0.1:8080", []string{"127.0.0.1:8080"}},
		{`{"api":"https://[::1]:8443"}`, true, "https://[::1]:8443", []string{"[::1]:8443"}},
		{`{"api":"https://{secret.shop}.example.com/{secret.dir}","hosts":["{secret.shop}.example.com","*.{secret.shop}.net:1"]}`, false, "https://shop.example.com/a%2Fb", []string{"shop.example.com", "*.shop.net:1"}},
		{`{"api":"https://{secret.shop}.example.com"}`, false, "https://shop.example.com", []string{"shop.example.com"}},
	} {
		got, err := targetOf(t, c.config, c.trusted, map[string]string{"shop": "shop", "dir": "a/b"})
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		api := ""
		if got.API != nil {
			api = got.API.String()
		}
		if api != c.api || got.Trusted != c.trusted || len(got.Hosts) != len(c.hosts) {
			t.Errorf("%s: %+v", c.config, got)
			continue
		}
		for i, host := range c.hosts {
			if got.Hosts[i].String() != host {
				t.Errorf("%s: host %s, want %s", c.config, got.Hosts[i], host)
			}
		}
	}
}

func TestTargetFlags(t *testing.T) {
	got, err := targetOf(t, `{"allow_http":true,"upgrade":true,"scrub":true,"forwarded":true}`, false, map[string]string{})
	if err != nil || !got.AllowHTTP || !got.Upgrade || !got.Scrub || !got.Forwarded || got.Trusted {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTargetOfProxiedRequests(t *testing.T) {
	got, err := targetOf(t, `{"pass":["cookie","Set-Cookie"],"methods":["GET","PROPFIND"]}`, false, map[string]string{})
	if err != nil || !slices.Equal(got.Pass, []string{"Cookie", "Set-Cookie"}) || !slices.Equal(got.Methods, []string{"GET", "PROPFIND"}) {
		t.Errorf("%v, %v, %v", got.Pass, got.Methods, err)
	}
}

// All leases of a realm share one target, unless the secret decides about it.
func TestTargetIsShared(t *testing.T) {
	for config, shared := range map[string]bool{
		`{"api":"https://a.example"}`:                                   true,
		`{"api":"https://{secret.shop}.example"}`:                       false,
		`{"api":"https://a.example","hosts":["{secret.shop}.example"]}`: false,
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		var targets []*realm.Target
		for range 2 {
			b, err := p.Bind(secretOf(map[string]string{"token": "T", "shop": "s"}))
			if err != nil {
				t.Fatal(err)
			}
			targets = append(targets, b.Target())
		}
		if (targets[0] == targets[1]) != shared {
			t.Errorf("%s: shared %v", config, !shared)
		}
	}
}

// A field of the secret must not choose where a token goes.
func TestTargetRefuses(t *testing.T) {
	for _, config := range []string{
		`{"api":"https://{secret.shop}.example"}`,
		`{"hosts":["{secret.shop}.example"]}`,
		`{"hosts":["{secret.shop}"]}`,
	} {
		for _, value := range []string{"", "evil.com/", "evil.com?", "a@evil.com", "evil.com:1", "*", "*.com", "a b", "a\n"} {
			got, err := targetOf(t, config, false, map[string]string{"shop": value})
			var field *realm.FieldError
			if !errors.As(err, &field) || field.Field != "shop" {
				t.Errorf("%s with %q: %+v, %v", config, value, got, err)
			}
		}
	}
}
