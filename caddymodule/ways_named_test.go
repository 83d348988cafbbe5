package caddymodule

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testproxy"
)

// A realm of the API reaches no private address by a name, whatever network_proxy
// says, and its proxy is asked for an address that was checked here.
func TestNetworkProxyGuardsAPIRealms(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a private address was reached")
	}))
	t.Cleanup(inside.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	named := testproxy.Start(t, testproxy.Options{Names: map[string]string{"localhost:" + port: "127.0.0.1:" + port}})
	for name, says := range map[string]string{"none": "none", "url": "url http://" + named.Addr} {
		i := newInstance(t)
		i.load("", farSite+`
	handle_path /named/* {
		token_gateway {
			transport token {
				network_proxy `+says+`
			}
		}
	}`)
		for id, more := range map[string]string{"plain": "", "own": `,"proxy":"off"`} {
			i.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id":%q,"config":{"api":"http://localhost:%s","allow_http":true,"grant":{"name":"static"},"inject":[{"place":"url","name":"t"}]%s}}`, id, port, more))
			i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":%q,"key":"main","fields":{"token":"t"}}`, id))
			if a := i.get("/named/" + id + "/main/menu"); a.StatusCode != http.StatusBadGateway || !strings.Contains(a.body, "host_not_allowed") {
				t.Errorf("%s, %s: %s %s", name, id, a.Status, a.body)
			}
		}
	}
	if asked := named.Asked(); len(asked) > 0 {
		t.Errorf("the proxy was asked for %v", asked)
	}
}

// An https proxy, whose certificate leads to an authority that the block trusts. The
// ca and the client certificate of the realm are about the provider alone.
func TestHTTPSProxy(t *testing.T) {
	authority, certificate, key := selfSigned(t, "billing")
	far, front := newFarProvider(t, authority), newFarProvider(t, nil)
	shown := make(chan int, 100)
	own := front.TLS.Clone()
	own.ClientAuth, own.NextProtos = tls.RequestClientCert, nil
	own.VerifyConnection = func(s tls.ConnectionState) error {
		shown <- len(s.PeerCertificates)
		return nil
	}
	named := testproxy.Start(t, testproxy.Options{TLS: own, User: "u", Password: "https-canary"})
	dir := t.TempDir()
	pem, ca := filepath.Join(dir, "front.pem"), filepath.Join(dir, "far.pem")
	writeFile(t, pem, front.ca)
	writeFile(t, ca, far.ca)
	t.Setenv("FAR_CERTIFICATE", certificate)
	t.Setenv("FAR_KEY", key)
	i := newInstance(t)
	i.load("allow_private 127.0.0.1"+farRealm("far", far, "ca "+ca+`
		client_certificate tls_cert
		client_key tls_key
		secret main {
			tls_cert {env.FAR_CERTIFICATE}
			tls_key {env.FAR_KEY}
		}`), `
	handle_path /named/* {
		token_gateway {
			transport token {
				tls_trust_pool file `+pem+`
				network_proxy url https://u:https-canary@`+named.Addr+`
			}
		}
	}`)
	save := fmt.Sprintf(`{"id":"db","config":{"api":"https://%s","ca":%q,"client_certificate":"c","client_key":"k","grant":{"name":"static"},
		"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}]}}`, far.host, far.ca)
	i.must(http.MethodPost, "/api/realm", save)
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":"db","key":"main","fields":{"token":%q,"c":%q,"k":%q}}`, farToken, certificate, key))
	for _, id := range []string{"far", "db"} {
		if a := i.get("/named/" + id + "/main/menu"); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", id, a.Status, a.body)
		}
		if n := <-shown; n > 0 {
			t.Errorf("%s: the proxy was shown the client certificate", id)
		}
	}
	if asked := named.Asked(); len(asked) == 0 || slices.ContainsFunc(asked, func(s string) bool { return s != far.host }) {
		t.Errorf("the proxy was asked for %v", asked)
	}
	if named.Saw(farToken) || strings.Contains(i.log(), "https-canary") {
		t.Error("the token or the password got out")
	}
}
