// Package doctor turns the report of a dry run into advice: what is probably wrong,
// and what to do about it, in plain words. It only reads what was reported; it
// asks nobody, and it never sees a value of a secret or a token.
package doctor

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Case is what the doctor gets to see.
type Case struct {
	Ref    realm.Ref
	Report grant.Report
	// Config of the realm, with that of its preset.
	Config realm.Config
	// Errors are the refusals that the realm's preset knows. They are better than
	// anything that is said of all providers.
	Errors []presets.KnownError
	// Call is the request to the API; nil if none was sent.
	Call *Call
}

// Advice is one thing that is probably wrong, or that is good to know.
type Advice struct {
	// Code is for programs: not_json, unit, ... All are in Words.
	Code string `json:"code"`
	// Case narrows Code where it has several texts: not_json of a page, of XML.
	Case string `json:"case,omitempty"`
	// Values are the names and numbers in Text, for who says it in another language.
	Values map[string]string `json:"values,omitempty"`
	// Text is one or two sentences, in English.
	Text string `json:"text"`
}

// Call tells what one request to the provider's API did.
type Call struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Response is what the API answered; nil if the request was not sent, or there
	// was no answer.
	Response *grant.ReportResponse `json:"response,omitempty"`
	// Cut: the answer is longer than Bytes, which is where the reading stopped.
	Cut bool `json:"cut,omitempty"`
	// Dead: the realm's renew_on takes the token for dead by this answer. Rule is
	// the index of the rule that matches; nil if it is not known.
	Dead bool `json:"dead,omitempty"`
	Rule *int `json:"rule,omitempty"`
	// Code and Error say why there is no answer, in the words of the proxy.
	Code  realm.Code `json:"code,omitempty"`
	Error string     `json:"error,omitempty"`
	// Fault says why the API could not be reached.
	Fault grant.Fault `json:"fault,omitempty"`
}

// IsRefused reports whether there is no answer that the API gave with success.
func (c *Call) IsRefused() bool {
	return c.Dead || c.Response == nil || c.Response.Status >= http.StatusBadRequest
}

// advisers look at one thing each, in the order in which people should.
var advisers = []func(*findings){
	(*findings).lookAtPreparation,
	(*findings).lookAtFields,
	(*findings).lookAtConnection,
	(*findings).lookAtRefusal,
	(*findings).lookAtForm,
	(*findings).lookAtToken,
	(*findings).lookAtExpiry,
	(*findings).lookAtClock,
	(*findings).lookAtHosts,
	(*findings).lookAtCall,
}

// Advise looks at a case. It never returns nil, so that the list is one in JSON.
func Advise(c Case) []Advice {
	f := &findings{Case: c, list: []Advice{}}
	for _, look := range advisers {
		look(f)
	}
	return f.list
}

// findings are what was found in a case so far.
type findings struct {
	Case
	list []Advice
}

// values are the names and numbers in a text.
type values map[string]string

// add adds advice whose code has one text, without a name or a number in it.
func (f *findings) add(code, text string) { f.addCase(code, "", nil, text) }

// addCase adds advice. Of one code, what was said first stays alone.
func (f *findings) addCase(code, which string, v values, text ...string) {
	if !f.has(code) {
		f.list = append(f.list, Advice{Code: code, Case: which, Values: v, Text: strings.Join(text, "")})
	}
}

func (f *findings) has(code string) bool {
	return slices.ContainsFunc(f.list, func(a Advice) bool { return a.Code == code })
}

// response is the answer of the provider; an empty one where there is none.
func (f *findings) response() grant.ReportResponse {
	if f.Report.Response == nil {
		return grant.ReportResponse{}
	}
	return *f.Report.Response
}

// isRefused reports whether the provider answered, and gave no token.
func (f *findings) isRefused() bool {
	return f.Report.Response != nil && f.Report.Token == nil
}
