package doctor_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/testproxy"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What keeps a call from an answer is told in plain words, with the host, as it
// really happens.
func TestAdviceOnConnections(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer silent.Close()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hanging.Close()
	secured := httptest.NewTLSServer(http.NotFoundHandler())
	defer secured.Close()
	asking := testproxy.Start(t, testproxy.Options{User: "u", Password: "x"})
	barred := testproxy.Start(t, testproxy.Options{Refuse: http.StatusForbidden})
	blind := testproxy.Start(t, testproxy.Options{SOCKS: true, Refuse: 4})
	for name, c := range map[string]struct{ url, code, says, proxy string }{
		"no proxy there":       {"https://127.0.0.1:1", "proxy_unreachable", "127.0.0.1:1 was not asked, because the proxy", "http://127.0.0.1:1"},
		"a proxy with users":   {"https://127.0.0.1:1", "proxy_credentials", "wants a user and a password", "http://" + asking.Addr},
		"a proxy that forbids": {"https://127.0.0.1:1", "proxy_refused", "does not let the connection through", "http://" + barred.Addr},
		"a proxy in the dark":  {"https://127.0.0.1:1", "proxy_not_reached", "was not reached by the proxy", "socks5://" + blind.Addr},
		"a proxy inside":       {"https://8.8.8.8", "proxy_private", "`allow_private` in the tokens block", "http://10.0.0.1:3128"},
		"nobody listens":       {"http://127.0.0.1:1", "unreachable", "127.0.0.1:1 cannot be reached", ""},
		"no answer":            {silent.URL, "closed", "closed the connection", ""},
		"no answer in time":    {hanging.URL, "timeout", "timeout", ""},
		"no TLS":               {strings.Replace(silent.URL, "http:", "https:", 1), "no_tls", "plain HTTP", ""},
		"no known issuer":      {secured.URL, "certificate_unknown", "trust store", ""},
		"no such name":         {"https://nobody.invalid", "dns", "nobody.invalid cannot be found", ""},
		"a private address":    {"https://10.0.0.1", "private_address", "allow_private", ""},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := "1m"
			if c.code == "timeout" {
				timeout = "100ms"
			}
			proxy := ""
			if c.proxy != "" {
				proxy = `"proxy":"` + c.proxy + `",`
			}
			got := examine(t, `{`+proxy+`"url":"`+c.url+`/token","token_path":"t","limits":{"timeout":"`+timeout+`"}}`, nil)
			s := shape{codes: []string{c.code}, says: []string{c.says}}
			s.check(t, doctor.Advise(got))
		})
	}
}

// noNames dials where no name is known.
func noNames(context.Context, string, string) (net.Conn, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// Why a call was not made is told as well.
func TestAdviceOnPreparation(t *testing.T) {
	code := realm.Config{Grant: &realm.Grant{Name: "authorization_code"}}
	for name, c := range map[string]struct {
		of    doctor.Case
		shape shape
	}{
		"no person yet":        {doctor.Case{Config: code, Report: grant.Report{Fault: grant.FaultNotAuthorized}}, shape{codes: []string{"authorize_first"}, says: []string{"/api/secret/r/k/authorize"}}},
		"no refresh token yet": {doctor.Case{Report: grant.Report{Fault: grant.FaultNotAuthorized}}, shape{codes: []string{"authorize_first"}, says: []string{"field refresh_token"}}},
		"a dead refresh token": {
			doctor.Case{Config: code, Report: grant.Report{Kind: grant.KindInvalidGrant, Response: &grant.ReportResponse{Status: 400, ProviderCode: "invalid_grant"}}},
			shape{codes: []string{"refresh_token_dead"}, says: []string{"/api/secret/r/k/authorize"}},
		},
		"a fixed token":    {doctor.Case{Report: grant.Report{Fault: grant.FaultFixed}}, shape{codes: []string{"fixed_token"}, says: []string{"--call"}}},
		"a computed token": {doctor.Case{Report: grant.Report{Token: &grant.ReportToken{}}}, shape{codes: []string{"computed_token"}, says: []string{"--call"}}},
		"a server's login": {doctor.Case{Report: grant.Report{Fault: grant.FaultUnattended}}, shape{codes: []string{"unattended"}}},
		"a parent":         {doctor.Case{Report: grant.Report{Fault: grant.FaultParent}}, shape{codes: []string{"parent"}}},
		"a dead parent":    {doctor.Case{Report: grant.Report{Kind: grant.KindDeadParent}}, shape{codes: []string{"parent"}}},
		"no ticket":        {doctor.Case{Report: grant.Report{Fault: grant.FaultUnpushed}}, shape{codes: []string{"unpushed"}, says: []string{"token_push"}}},
		"a missing field": {
			doctor.Case{Report: grant.Report{Fields: []grant.FieldFault{
				{Name: "a", Fault: grant.MistakeMissing}, {Name: "b", Fault: grant.MistakeMissing}, {Name: "c", Fault: grant.MistakeUnread},
			}}},
			shape{codes: []string{"missing_field", "unread_field"}, says: []string{"needs: a, b.", "has: c."}},
		},
		"a trial":        {doctor.Case{Report: grant.Report{Fault: grant.FaultTrial}}, shape{codes: []string{"trial"}}},
		"a moment later": {doctor.Case{Report: grant.Report{Fault: grant.FaultWaiting}}, shape{codes: []string{"wait"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.of.Ref = realm.Ref{Realm: "r", Key: "k"}
			c.shape.check(t, doctor.Advise(c.of))
		})
	}
}

// What the API answers is told, too.
func TestAdviceOnCalls(t *testing.T) {
	answered := func(status int) *grant.ReportResponse { return &grant.ReportResponse{Status: status} }
	withRule := realm.Config{RenewOn: []realm.Rule{{Status: []int{403}}}}
	for name, c := range map[string]struct {
		config  realm.Config
		call    doctor.Call
		refused bool
		code    string
	}{
		"good":                {withRule, doctor.Call{Response: answered(200)}, false, ""},
		"dead":                {withRule, doctor.Call{Response: answered(200), Dead: true}, true, "dead_token"},
		"401 and no rule":     {realm.Config{}, doctor.Call{Response: answered(401)}, true, "no_renew_on"},
		"401 of another kind": {withRule, doctor.Call{Response: answered(401)}, true, "call_unauthorized"},
		"a redirect":          {withRule, doctor.Call{Response: answered(302)}, false, "call_redirect"},
		"no such path":        {withRule, doctor.Call{Response: answered(404)}, true, "call_not_found"},
		"another host":        {withRule, doctor.Call{Code: realm.CodeHostNotAllowed}, true, "call_host"},
		"no api":              {withRule, doctor.Call{Code: realm.CodeNotProxyable}, true, "call_no_api"},
		"another method":      {withRule, doctor.Call{Code: realm.CodeMethod}, true, "call_method"},
	} {
		t.Run(name, func(t *testing.T) {
			s := shape{}
			if c.code != "" {
				s.codes = []string{c.code}
			}
			s.check(t, doctor.Advise(doctor.Case{Config: c.config, Call: &c.call}))
			if c.call.IsRefused() != c.refused {
				t.Errorf("refused: %v", c.call.IsRefused())
			}
		})
	}
}
