package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Audit says what is written down of who did what. Changes, read-outs of
// tokens, flushes, authorizations and refusals always are.
type Audit struct {
	// Write an entry for each proxied request, too. No request waits for it;
	// what comes faster than it can be written is counted. Default: requests
	// are only counted, in metrics.
	Requests bool `json:"requests,omitempty"`

	// How long entries are kept; at least 1h. Default: 365d.
	Retain caddy.Duration `json:"retain,omitempty"`
}

// minRetain is the shortest time that entries are kept.
const minRetain = time.Hour

// settings checks the settings. A nil a leaves the defaults.
func (a *Audit) settings() (audit.Settings, error) {
	if a == nil {
		return audit.Settings{}, nil
	}
	retain, err := checkRetain(time.Duration(a.Retain))
	return audit.Settings{Requests: a.Requests, Retain: retain}, err
}

func checkRetain(d time.Duration) (time.Duration, error) {
	if d != 0 && d < minRetain {
		return 0, fmt.Errorf("retain must be at least %s", minRetain)
	}
	return d, nil
}

// parseAudit reads what is written down of who did what:
//
//	audit {
//	    requests
//	    retain <duration>
//	}
func (a *App) parseAudit(d *caddyfile.Dispenser) error {
	if a.Audit != nil {
		return d.Errf("tokens option 'audit' is given twice")
	}
	if d.NextArg() {
		return d.Errf("audit: surplus argument '%s'", d.Val())
	}
	a.Audit = new(Audit)
	return options{
		"requests": {parse: func(*caddyfile.Dispenser) error {
			a.Audit.Requests = true
			return nil
		}},
		"retain": value(&a.Audit.Retain, func(s string) (caddy.Duration, error) {
			d, err := realm.ParseDuration(s)
			if err != nil {
				return 0, err
			}
			if d == 0 { // which stands for the default in JSON
				d = -1
			}
			checked, err := checkRetain(d.Std())
			return caddy.Duration(checked), err
		}),
	}.parse(d, "audit")
}

// eventOf is what a caller does.
func eventOf(r *http.Request, act string, who caller, ref realm.Ref) audit.Event {
	return audit.Event{
		Actor: audit.Actor{Kind: string(who.kind), ID: who.id()}, Address: auditAddress(r), Act: act, Ref: ref,
	}
}

// auditAddress is the address of a caller in the form that the audit has.
func auditAddress(r *http.Request) string {
	from := addressOf(r)
	if !from.IsValid() {
		return ""
	}
	from = from.Unmap().WithZone("")
	// Nearly always Caddy has the same text already.
	var buf [len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]byte
	text := from.AppendTo(buf[:0])
	if ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ip == string(text) {
		return ip
	}
	return string(text)
}

// refused counts a proxied request that gets no token, and has the audit note
// it: what the caller has no right to, always; all else where each request has
// an entry.
func (a *App) refused(r *http.Request, who caller, ref realm.Ref, err error) {
	countRefusal(who.client, ref, err)
	var known *realm.Error
	if !errors.As(err, &known) {
		known = &realm.Error{Code: realm.CodeInternal}
	}
	e := eventOf(r, audit.ActAccess, who, ref)
	e.Code = string(known.Code)
	switch known.Code {
	case realm.CodeForbidden, realm.CodeRateLimited:
		a.recorder.Refused(e)
	default:
		a.recorder.Request(e, auditResult(known.Status))
	}
}

// auditResult is the result for the status of an answer; 0 for none.
func auditResult(status int) string {
	switch resultOf(status) {
	case resultOK:
		return tokenstore.AuditOK
	case resultRefused:
		return tokenstore.AuditRefused
	}
	return tokenstore.AuditFailed
}

// send sends a request, and has the audit note it where each request has an
// entry.
func (t *Transport) send(req *http.Request) (*http.Response, error) {
	resp, err := t.inject.RoundTrip(req)
	t.noteSent(req, resp, err)
	return resp, err
}

// noteSent writes an entry for a request, where each request has one.
func (t *Transport) noteSent(req *http.Request, resp *http.Response, err error) {
	if !t.app.recorder.WritesRequests() {
		return
	}
	repl, _ := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	var who caller
	if res, _ := resolvedOf(req.Context()); res != nil && res.passage != nil {
		who = caller{kind: adminapi.KindClient, client: res.passage.client}
	} else if user := t.admission.user(repl); user != "" {
		who = caller{kind: adminapi.KindUser, user: user}
	} else {
		who = caller{kind: adminapi.KindLocal}
	}
	var ref realm.Ref
	if repl != nil {
		ref.Realm, _ = repl.GetString("http.token.realm")
		ref.Key, _ = repl.GetString("http.token.key")
	}
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	t.app.recorder.Request(eventOf(req, audit.ActAccess, who, ref), auditResult(status))
}
