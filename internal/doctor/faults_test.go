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
	for name, c := range map[string]struct{ url, code, says string }{
		"nobody listens":    {"http://127.0.0.1:1", "unreachable", "127.0.0.1:1 cannot be reached"},
		"no answer":         {silent.URL, "closed", "closed the connection"},
		"no answer in time": {hanging.URL, "timeout", "timeout"},
		"no TLS":            {strings.Replace(silent.URL, "http:", "https:", 1), "no_tls", "plain HTTP"},
		"no known issuer":   {secured.URL, "certificate_unknown", "trust store"},
		"no such name":      {"https://nobody.invalid", "dns", "nobody.invalid cannot be found"},
		"a private address": {"https://10.0.0.1", "private_address", "allow_private"},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := "1m"
			if c.code == "timeout" {
				timeout = "100ms"
			}
			got := examine(t, `{"url":"`+c.url+`/token","token_path":"t","limits":{"timeout":"`+timeout+`"}}`, nil)
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
		"a trial":          {doctor.Case{Report: grant.Report{Fault: grant.FaultTrial}}, shape{codes: []string{"trial"}}},
		"a moment later":   {doctor.Case{Report: grant.Report{Fault: grant.FaultWaiting}}, shape{codes: []string{"wait"}}},
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
