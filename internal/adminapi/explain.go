package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// explanation is the answer of POST /api/explain.
type explanation struct {
	Allowed bool `json:"allowed"`
	// Rule is the index of the rule that decided in the client's rules, null
	// where none did.
	Rule    *int     `json:"rule"`
	Reasons []string `json:"reasons"`
	// What the last of Reasons says, for programs. Code: why the realm or the secret
	// gives no token; Failure and ProviderCode: of the token, as in the status.
	Code         realm.Code `json:"code,omitempty"`
	Failure      string     `json:"failure,omitempty"`
	ProviderCode string     `json:"provider_code,omitempty"`
}

// explain says why a proxied request of a client would or would not get its
// token. Nothing is sent, and nothing is counted.
func (a *api) explain(ctx context.Context, r *request) (any, error) {
	client, q, err := readQuestion(r.body)
	if err != nil {
		return nil, err
	}
	if err := r.require(access.AdminRead, q.Ref); err != nil {
		return nil, err
	}
	e, err := a.clients.Explain(client, q)
	if err != nil {
		return nil, err
	}
	var shown explanation
	if err := a.explainRealm(ctx, r.caller, q, &e, &shown); err != nil {
		return nil, err
	}
	shown.Allowed, shown.Reasons = e.Allowed, orEmpty(e.Reasons)
	if e.Rule >= 0 {
		shown.Rule = &e.Rule
	}
	return plainJSON(shown)
}

// readQuestion reads who wants what. The method is GET, and the path "/", where
// none is given.
func readQuestion(body []byte) (client string, q access.Question, err error) {
	o, err := decodeWithoutKey(body)
	if err != nil {
		return "", q, err
	}
	q.Right, q.Method, q.Path = access.Use, "GET", "/"
	for _, f := range []struct {
		name string
		to   *string
	}{{"client", &client}, {"realm", &q.Ref.Realm}, {"key", &q.Ref.Key}} {
		if *f.to, err = o.need(f.name); err != nil {
			return "", q, err
		}
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"method", &q.Method}, {"path", &q.Path}} {
		if _, err = o.take(f.name, f.to); err != nil {
			return "", q, err
		}
	}
	if !strings.HasPrefix(q.Path, "/") {
		return "", q, realm.Fieldf("path", "must begin with a slash")
	}
	return client, q, o.end()
}

// explainRealm adds what the realm, the secret and the state of its token have
// to do with it, and says to shown what the last of that is for programs.
func (a *api) explainRealm(ctx context.Context, asking Caller, q access.Question, e *access.Explanation, shown *explanation) error {
	err := a.broker.CheckProxyable(ctx, q.Ref)
	var known *realm.Error
	switch {
	case errors.As(err, &known) && known.Code != realm.CodeUnavailable:
		e.Refuse(known.Detail)
		shown.Code = known.Code
		return nil
	case err != nil:
		return err
	}
	info, err := a.catalog.RealmInfo(ctx, q.Ref.Realm)
	if err != nil {
		return err
	}
	if !info.Config.AllowsMethod(q.Method) {
		e.Refuse("the realm does not allow the method " + q.Method)
	}
	e.Add(fmt.Sprintf("the request goes to %s, and the token to %s alone", info.Config.API, hostsOf(info.Config)))
	for _, s := range a.catalog.SourcesOf(q.Ref) {
		e.Add(toldSource(s))
	}
	t, ok := a.broker.StatusOf(q.Ref)
	for _, p := range t.Parents {
		if asking.maySome(access.AdminRead, p.Realm) {
			e.Add("the token is obtained with one of realm " + p.Realm)
		}
	}
	switch {
	case !ok || t.State == broker.StateIdle:
		e.Add("there is no token in memory; the request would load or fetch one")
	case t.State == broker.StateLive:
		e.Add("there is a live token")
	case t.LastError != "":
		e.Add("the state of the token is " + t.State + ": " + t.LastError)
		shown.Failure, shown.ProviderCode = t.Failure, t.Code
	default:
		e.Add("the state of the token is " + t.State)
	}
	return nil
}

// toldSource says where a field comes from, and what is wrong with that.
func toldSource(s catalog.SourceStatus) string {
	text := fmt.Sprintf("the field %s comes from %s", s.Field, s.Source)
	if s.Error != "" {
		text += ", which gave no value the last time: " + s.Error
	}
	return text
}

// hostsOf are the hosts that get the token of a realm.
func hostsOf(c realm.Config) string {
	if len(c.Hosts) > 0 {
		return strings.Join(c.Hosts, ", ")
	}
	if u, err := url.Parse(c.API); err == nil && u.Host != "" {
		return u.Host
	}
	return "the host of its api"
}
