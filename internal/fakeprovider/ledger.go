package fakeprovider

import (
	"slices"
	"time"
)

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	Asked   Kind = "asked"   // a token request arrived, good or bad
	Refused Kind = "refused" // it was refused
	Issued  Kind = "issued"  // a new access token
	Given   Kind = "given"   // the current access token, once more
	Revoked Kind = "revoked" // an access token was ended before its time
	Spent   Kind = "spent"   // a refresh token was exchanged
	Reused  Kind = "reused"  // a refresh token came that was spent before
	Stolen  Kind = "stolen"  // somebody else fetched a token, see Steal
	// Opened is an authorization request (RFC 6749 section 4.1.1): a person's
	// page, or the app's own.
	Opened Kind = "opened"
	// Denied is the end of one without a code; a person may try again.
	Denied     Kind = "denied"
	CodeIssued Kind = "code_issued" // an authorization code
	CodeSpent  Kind = "code_spent"  // it was exchanged
	CodeReused Kind = "code_reused" // a code came that was spent before
	// CalledBack is the provider's own call of the redirect URI; Reason is the
	// HTTP status that it got, or "no answer".
	CalledBack Kind = "called_back"
	// CalledDead is an API call without a token that lives.
	CalledDead Kind = "called_dead"
)

// Event is one line of the ledger.
type Event struct {
	// Seq grows by one with each event: the order of the provider's decisions.
	Seq int64
	// At is the provider's clock.
	At   time.Time
	Kind Kind
	// Ref is the app id of the credential.
	Ref string
	// User is the account, where the provider knows one.
	User string
	// Token is the access token that the event is about.
	Token string
	// Refresh is the refresh token: the new one for Issued, the old one for
	// Spent and Reused.
	Refresh string
	// Code is the authorization code, also in a refusal of one.
	Code string
	// Reason of a refusal, a denial, a revocation or a dead call.
	Reason string
	// From is when a revocation begins; for a dead call, when the token had
	// died: zero where it was never issued or would still live but for a fault.
	From time.Time
	// Path of a dead call.
	Path string
}

// book is the ledger. The provider's lock guards it.
type book struct {
	events   []Event
	calls    int
	returned map[string]bool // tokens that an answer held which went out
}

func newBook() book { return book{returned: map[string]bool{}} }

func (b *book) add(e Event) {
	e.Seq = int64(len(b.events)) + 1
	b.events = append(b.events, e)
}

// Events returns the ledger so far, of the given apps or of all. Here and
// below, an account's user name may stand for its app's id.
func (p *Provider) Events(refs ...string) []Event {
	return p.where(refs, func(Event) bool { return true })
}

// Fetches counts the token requests of the given apps (all apps where none is
// named), also those that were refused.
func (p *Provider) Fetches(refs ...string) int { return len(p.of(Asked, refs)) }

// Refusals counts the token requests that were refused.
func (p *Provider) Refusals(refs ...string) int { return len(p.of(Refused, refs)) }

// Issued returns the access tokens that were made, oldest first.
func (p *Provider) Issued(refs ...string) []string {
	events := p.of(Issued, refs)
	tokens := make([]string, len(events))
	for i, e := range events {
		tokens[i] = e.Token
	}
	return tokens
}

// Newest is the access token that was issued last, "" for none.
func (p *Provider) Newest(refs ...string) string {
	tokens := p.Issued(refs...)
	if len(tokens) == 0 {
		return ""
	}
	return tokens[len(tokens)-1]
}

// Rank is the place of a token among those of its app in the order of issue,
// from 1; 0 for a token that was never issued.
func (p *Provider) Rank(token string) int {
	p.mu.Lock()
	rec := p.mint.records[token]
	p.mu.Unlock()
	if rec == nil {
		return 0
	}
	return slices.Index(p.Issued(rec.ref), token) + 1
}

// Live reports whether the API accepts a token now.
func (p *Provider) Live(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec := p.mint.records[token]
	return rec != nil && rec.state(p.opts.Now()) == live
}

// Calls counts the API calls that carried a live token.
func (p *Provider) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.calls
}

// CallsWith counts the API calls that carried this token while it lived.
func (p *Provider) CallsWith(token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rec := p.mint.records[token]; rec != nil {
		return rec.uses
	}
	return 0
}

// DeadCalls returns the API calls that carried no token, several, or one that
// did not live.
func (p *Provider) DeadCalls() []Event { return p.of(CalledDead, nil) }

// Authorizations counts the authorization requests, those of an app and the
// pages that persons opened.
func (p *Provider) Authorizations(refs ...string) int { return len(p.of(Opened, refs)) }

// Codes returns the authorization codes that were issued, oldest first.
func (p *Provider) Codes(refs ...string) []string {
	events := p.of(CodeIssued, refs)
	codes := make([]string, len(events))
	for i, e := range events {
		codes[i] = e.Code
	}
	return codes
}

// CodeReuses returns the attempts to exchange a code a second time.
func (p *Provider) CodeReuses(refs ...string) []Event { return p.of(CodeReused, refs) }

// Reuses returns the attempts to spend a refresh token a second time.
func (p *Provider) Reuses(refs ...string) []Event { return p.of(Reused, refs) }

func (p *Provider) of(kind Kind, refs []string) []Event {
	return p.where(refs, func(e Event) bool { return e.Kind == kind })
}

// where returns the events of the apps (of all where none is named) that fit.
func (p *Provider) where(refs []string, fits func(Event) bool) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []Event
	for _, e := range p.book.events {
		if e.of(refs) && fits(e) {
			found = append(found, e)
		}
	}
	return found
}

// of reports whether the event is about one of the apps or users; none names all.
func (e Event) of(refs []string) bool {
	return len(refs) == 0 || slices.Contains(refs, e.Ref) || e.User != "" && slices.Contains(refs, e.User)
}

// judge looks at the tokens that an API call carried and writes down what it
// saw.
func (p *Provider) judge(tokens []string, path string) state {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	s, rec := p.look(tokens, now)
	if s == live {
		p.book.calls++
		rec.uses++
		return s
	}
	e := Event{At: now, Kind: CalledDead, Reason: string(s), Path: path}
	if len(tokens) > 0 {
		e.Token = tokens[0]
	}
	if rec != nil {
		e.Ref, e.User, e.From = rec.ref, rec.user, rec.diedAt(now)
	}
	p.book.add(e)
	return s
}

func (p *Provider) look(tokens []string, now time.Time) (state, *record) {
	switch {
	case len(tokens) == 0 || tokens[0] == "":
		return missing, nil
	case len(tokens) > 1:
		return ambiguous, nil
	}
	rec := p.mint.records[tokens[0]]
	if rec == nil {
		return unknown, nil
	}
	if p.faults.RefuseTokens {
		return revoked, rec
	}
	return rec.state(now), rec
}
