package grant

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
)

// Hosts that the configuration file names are trusted. One that a secret
// fills in is not: the secret may have come by the API.
func TestOnlyNamedHostsAreTrusted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"t":"T1"}`))
	}))
	defer server.Close()
	policy, err := netguard.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(policy.Dialer(new(net.Dialer)), nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, c := range []struct {
		host    string
		trusted bool
	}{
		{"127.0.0.1", true},
		{"{secret.host}", false},
	} {
		base := "http://" + c.host + ":" + port
		p, err := Compile(realmOf(t, `{"url":"`+base+`/t","token_path":"t","api":"`+base+`"}`, ""), true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Bind(secretOf(map[string]string{"host": "127.0.0.1"}))
		if err != nil {
			t.Fatal(err)
		}
		if target := b.Target(); target.Trusted != c.trusted || !target.AllowHTTP {
			t.Errorf("%s: %+v", c.host, target)
		}
		_, err = b.Fetch(t.Context(), client, Request{})
		var failed *Error
		if refused := errors.As(err, &failed) && failed.Kind == KindForbidden; refused == c.trusted {
			t.Errorf("%s: fetched with %v", c.host, err)
		}
	}
}
