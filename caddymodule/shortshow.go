package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// reverse_proxy sets its placeholders one by one while it works, over those of a proxy
// in front, such as forward_auth. The short way computes them when they are asked for,
// which is rare. A replacer asks it last, so what it would set is deleted, at the same
// moments.

const placeholderPrefix = "http.reverse_proxy."

var (
	setAtFirst = []string{
		placeholderPrefix + "upstream.address", placeholderPrefix + "upstream.hostport", placeholderPrefix + "upstream.host", placeholderPrefix + "upstream.port",
		placeholderPrefix + "upstream.requests", placeholderPrefix + "upstream.max_requests", placeholderPrefix + "upstream.fails",
	}
	setWithAnswer = []string{
		placeholderPrefix + "upstream.latency", placeholderPrefix + "upstream.latency_ms", placeholderPrefix + "status_code", placeholderPrefix + "status_text",
	}
	setBehindAnswer = []string{placeholderPrefix + "upstream.duration", placeholderPrefix + "upstream.duration_ms"}
	setAtLast       = []string{placeholderPrefix + "duration", placeholderPrefix + "duration_ms", placeholderPrefix + "retries"}
)

func deleteAll(repl *caddy.Replacer, names []string) {
	for _, name := range names {
		repl.Delete(name)
	}
}

// shownRequest is whose placeholders a replacer shows. What is mapped to a replacer
// stays there, and a request may take the short way twice (handle_errors).
type shownRequest struct{ of *shortRequest }

// shownVar is the variable of a request with its *shownRequest.
const shownVar = "tokens.short_way"

// String keeps {http.vars.tokens.short_way} empty.
func (*shownRequest) String() string { return "" }

func (s *shownRequest) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, placeholderPrefix)
	if !ok {
		return nil, false
	}
	return s.of.placeholder(name)
}

// show has the placeholders show this request.
func (x *shortRequest) show(repl *caddy.Replacer) {
	deleteAll(repl, setAtFirst)
	if shown, ok := caddyhttp.GetVar(x, shownVar).(*shownRequest); ok {
		x.before, shown.of = shown.of, x
		return
	}
	x.shown.of = x
	caddyhttp.SetVar(x, shownVar, &x.shown)
	repl.Map(x.shown.placeholder)
}

// placeholder is {http.reverse_proxy.*}. What this request has not set yet is that of
// the one before.
func (x *shortRequest) placeholder(name string) (any, bool) {
	if x == nil {
		return nil, false
	}
	value, isSet := any(nil), false
	switch name {
	case "upstream.address":
		return "tcp/" + x.upstream.HostPort, true
	case "upstream.hostport":
		return x.upstream.HostPort, true
	case "upstream.host":
		return x.upstream.Host, true
	case "upstream.port":
		return x.upstream.Port, true
	case "upstream.requests", "upstream.max_requests", "upstream.fails":
		return 0, true
	case "upstream.latency":
		value, isSet = x.latency, x.latency > 0
	case "upstream.latency_ms":
		value, isSet = x.latency.Seconds()*1e3, x.latency > 0
	case "upstream.duration":
		value, isSet = x.answered, x.answered > 0
	case "upstream.duration_ms":
		value, isSet = x.answered.Seconds()*1e3, x.answered > 0
	case "duration":
		value, isSet = x.total, x.total > 0
	case "duration_ms":
		value, isSet = x.total.Seconds()*1e3, x.total > 0
	case "retries":
		value, isSet = 0, x.hasEnded
	case "status_code":
		if isSet = x.resp != nil; isSet {
			value = x.resp.StatusCode
		}
	case "status_text":
		if isSet = x.resp != nil; isSet {
			value = x.resp.Status
		}
	default:
		field, ok := strings.CutPrefix(name, "header.")
		if ok && x.resp != nil { // and no field of another answer
			values, ok := x.resp.Header[field]
			return strings.Join(values, ","), ok
		}
	}
	if isSet {
		return value, true
	}
	return x.before.placeholder(name)
}
