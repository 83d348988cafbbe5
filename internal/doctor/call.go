package doctor

import (
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// lookAtCall says what the answer of the API means for the token.
func (f *findings) lookAtCall() {
	c := f.Call
	if c == nil {
		return
	}
	switch {
	case c.Dead:
		f.add("dead_token", "The API refuses the token, by a rule of renew_on. A proxied request renews it and is sent again. "+
			"If a new token is refused as well, the rule takes something else for a dead token, or the token goes to the wrong place (inject).")
	case c.Response == nil:
		f.lookAtFailedCall()
	case c.Response.Status == http.StatusUnauthorized && len(f.Config.RenewOn) == 0:
		f.add("no_renew_on", "The API refuses the token (HTTP 401), and the realm does not say what a dead token looks like. Write a renew_on rule, for example `renew_on status 401`.")
	case c.Response.Status == http.StatusUnauthorized:
		f.add("call_unauthorized", "The API refuses the request (HTTP 401), and no rule of renew_on matches. Is the token in the place that the API wants (inject)? If it was dead, a rule is missing.")
	case c.Response.Status >= http.StatusMultipleChoices && c.Response.Status < http.StatusBadRequest:
		f.add("call_redirect", "The API redirects. Redirects are handed to the caller, and not followed with the token: is the path right, and api the host that the provider documents?")
	case c.Response.Status == http.StatusNotFound:
		f.add("call_not_found", "The API does not know this path. The path of api is put in front of the one of the call: is it in both?")
	case c.Response.ProviderCode != "":
		f.adviseCode(c.Response.ProviderCode)
	}
}

// adviseCode adds what the preset says of a code of the API.
func (f *findings) adviseCode(code string) {
	for _, e := range f.Errors {
		if e.Code == code {
			f.addCase("preset_call", "", values{"code": e.Code}, "The API answers with ", code, ". ", e.En)
		}
	}
}

// lookAtFailedCall says why a call was not made or not answered.
func (f *findings) lookAtFailedCall() {
	if text, ok := faultTexts[f.Call.Fault]; ok {
		f.add("call_"+string(f.Call.Fault), "The API "+text)
		return
	}
	switch f.Call.Code { //nolint:exhaustive // the others explain themselves
	case realm.CodeHostNotAllowed:
		f.add("call_host", "The token was kept back: the API must be https (or allow_http), one of the realm's hosts, and have a public address (or allow_private).")
	case realm.CodeNotProxyable:
		f.add("call_no_api", "The realm does not say where the API is or where the token goes: write api and inject.")
	case realm.CodeMethod:
		f.add("call_method", "The realm allows other methods only (methods).")
	}
}
