package inject

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

var (
	someRef   = realm.Ref{Realm: "r", Key: "k"}
	noRight   = refusal{http.StatusUnauthorized, "insufficient_scope"}
	deadToken = refusal{http.StatusUnauthorized, "invalid_token"}
)

// Each step tells the history of an answer, or asks it whom to blame.
func TestHistory(t *testing.T) {
	const one, two, three = realm.Hidden("T-1"), realm.Hidden("T-2"), realm.Hidden("T-3")
	a, b := requestOf(someRef, http.MethodGet, "/a"), requestOf(someRef, http.MethodGet, "/b")
	for name, steps := range map[string]func(h *History, wants func(want, got realm.Blame)){
		"nothing is known": func(h *History, wants func(_, _ realm.Blame)) {
			wants(realm.BlameUnknown, h.blame(b, noRight, one))
			wants(realm.BlameUnknown, h.blame(b, noRight, two))
		},
		"it was accepted before": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteAccepted(a, one)
			for range 3 {
				wants(realm.BlameToken, h.blame(a, deadToken, one))
			}
			wants(realm.BlameUnknown, h.blame(b, deadToken, one))
		},
		"a fresh token does not cure it": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteUncured(b, noRight)
			wants(realm.BlameRequest, h.blame(b, noRight, two))
			wants(realm.BlameUnknown, h.blame(b, deadToken, two))
			wants(realm.BlameUnknown, h.blame(b, refusal{http.StatusForbidden, noRight.code}, two))
			wants(realm.BlameUnknown, h.blame(a, noRight, two))
			wants(realm.BlameUnknown, h.blame(requestOf(someRef, http.MethodPost, "/b"), noRight, two))
			wants(realm.BlameUnknown, h.blame(requestOf(realm.Ref{Realm: "r", Key: "other"}, http.MethodGet, "/b"), noRight, two))
			wants(realm.BlameUnknown, h.blame(requestOf(realm.Ref{Realm: "other", Key: "k"}, http.MethodGet, "/b"), noRight, two))
		},
		"a fresh token cures it later": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteUncured(a, deadToken)
			h.noteAccepted(a, three)
			h.noteCured(a, deadToken)
			wants(realm.BlameToken, h.blame(a, deadToken, three))
		},
		// The query or the body decides: one refusal among accepted calls says
		// nothing, two in a row may be a dead token.
		"now and then": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteAccepted(a, one)
			h.noteUncured(a, noRight)
			for range 3 {
				h.noteAccepted(a, two)
				wants(realm.BlameRequest, h.blame(a, noRight, two))
			}
			wants(realm.BlameUnknown, h.blame(a, noRight, two))
		},
		// A provider that refused every token for a while.
		"nothing shows that the token lives": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteUncured(b, noRight)
			pass(h, retryAfter-time.Second)
			wants(realm.BlameRequest, h.blame(b, noRight, two))
			pass(h, time.Second)
			wants(realm.BlameUnknown, h.blame(b, noRight, two))
			wants(realm.BlameRequest, h.blame(b, noRight, two))
			pass(h, retryAfter)
			wants(realm.BlameUnknown, h.blame(b, noRight, two))
		},
		"others show that the token lives": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteUncured(b, noRight)
			h.noteAccepted(a, two)
			pass(h, 100*retryAfter)
			wants(realm.BlameRequest, h.blame(b, noRight, two))
			wants(realm.BlameUnknown, h.blame(b, noRight, three))
		},
		// The fresh token died before the request was repeated.
		"two deaths at once": func(h *History, wants func(_, _ realm.Blame)) {
			h.noteAccepted(a, one)
			wants(realm.BlameToken, h.blame(a, deadToken, one))
			h.noteUncured(a, deadToken)
			wants(realm.BlameUnknown, h.blame(a, deadToken, two))
			h.noteAccepted(a, three)
			pass(h, retryAfter)
			wants(realm.BlameToken, h.blame(a, deadToken, three))
		},
	} {
		now := time.Unix(1_800_000_000, 0)
		h := &History{now: func() time.Time { return now }}
		step := 0
		steps(h, func(want, got realm.Blame) {
			step++
			equal(t, want, got, fmt.Sprintf("%s, answer %d", name, step))
		})
	}
}

// pass moves the clock of a history.
func pass(h *History, d time.Duration) {
	now := h.now().Add(d)
	h.now = func() time.Time { return now }
}

// The memory of a realm is bounded, keeps what is still refused, and leaves
// other realms theirs.
func TestHistoryIsBounded(t *testing.T) {
	h := new(History)
	numbered := func(ref realm.Ref, i int) requestID { return requestOf(ref, http.MethodGet, fmt.Sprint("/b/", i)) }
	other := realm.Ref{Realm: "other", Key: "k"}
	h.noteUncured(numbered(other, 0), noRight)
	h.noteUncured(numbered(someRef, 0), noRight)
	for i := range 10 * maxRefusals {
		h.noteUncured(numbered(someRef, i+1), noRight)
		equal(t, realm.BlameRequest, h.blame(numbered(someRef, 0), noRight, "T"), "one that is refused again and again")
		equal(t, realm.BlameRequest, h.blame(numbered(someRef, max(i+1-maxRefusals/8, 0)), noRight, "T"), "a late one")
		set := h.uncured[someRef.Realm]
		if n := len(set.young) + len(set.old); n > maxRefusals {
			t.Fatalf("%d refusals are remembered", n)
		}
	}
	equal(t, realm.BlameUnknown, h.blame(numbered(someRef, 1), noRight, "T"), "one of long ago")
	equal(t, realm.BlameRequest, h.blame(numbered(other, 0), noRight, "T"), "one of another realm")
}

// An accepted answer waits for no lock and allocates nothing.
func TestHistoryOfAcceptedIsCheap(t *testing.T) {
	h := new(History)
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	equal(t, 0, testing.AllocsPerRun(100, func() {
		n++
		h.noteAccepted(requestOf(someRef, http.MethodGet, "/a"), token)
	}), "allocations")
}

// The code tells refusals apart that share a status.
func TestErrorCode(t *testing.T) {
	for _, c := range []struct{ challenge, document, want string }{
		{"", "", ""},
		{"", "no right", ""},
		{"", `{"errcode":48001,"errmsg":"api unauthorized"}`, "48001"},
		{"", "\xef\xbb\xbf" + `{"errcode":48001}`, "48001"},
		{"", `{"error":"insufficient_scope"}`, "insufficient_scope"},
		{"", `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`, "401"},
		{"", `{"errors":[{"code":"x1"}]}`, "x1"},
		{"", `[{"errorCode":"INVALID_SESSION_ID"}]`, "INVALID_SESSION_ID"},
		{"", `{"message":"no right"}`, ""},
		{"", `{"code":"` + strings.Repeat("x", maxErrorCode+1) + `"}`, ""},
		{`Bearer realm="x", error="invalid_token", error_description="expired"`, `{"code":1}`, "invalid_token"},
		{`Bearer error="`, `{"code":1}`, "1"},
		{`Bearer error_description="expired"`, "", ""},
	} {
		h := http.Header{}
		if c.challenge != "" {
			h.Set("WWW-Authenticate", c.challenge)
		}
		equal(t, c.want, errorCode(h, []byte(c.document)), c.challenge+c.document)
	}
}

// The code of a refusal is read from each form in which an answer comes.
func TestRefusalCode(t *testing.T) {
	const document = `{"errcode":40001,"errmsg":"no right"}`
	for name, c := range map[string]struct{ rule, method, coding, framing, body, want string }{
		"by status":        {onStatus, http.MethodGet, "", "length", document, "40001"},
		"by status, gzip":  {onStatus, http.MethodGet, "gzip", "chunked", gzipped(t, document), "40001"},
		"by status, br":    {onStatus, http.MethodGet, "br", "length", document, ""},
		"by status, HEAD":  {onStatus, http.MethodHead, "", "length", "", ""},
		"by status, large": {onStatus, http.MethodGet, "", "length", sized(`{"errcode":1`, maxPeek+1), ""},
		"by document":      {onBody, http.MethodGet, "", "length", document, "40001"},
		"by document, zstd": {
			onBody, http.MethodGet, "zstd", "chunked", zstdOf(t, document), "40001",
		},
	} {
		resp := &http.Response{
			StatusCode: http.StatusUnauthorized, ProtoMajor: 1, ContentLength: -1, Body: io.NopCloser(strings.NewReader(c.body)),
			Header: http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {c.coding}},
		}
		if c.framing == "length" {
			resp.ContentLength = int64(len(c.body))
		}
		got, j := (&Transport{}).judge(resp, c.method, ruleOf(t, c.rule))
		equal(t, realm.Dead, j.verdict, name)
		equal(t, c.want, j.code, name)
		noError(t, got.Body.Close())
	}
}

// apps is a provider whose API refuses paths that begin with /b, whatever the
// token and in the very words in which it refuses a dead one, and the app that
// calls it.
type apps struct {
	*fakeprovider.Provider
	*healer
	transport *Transport
	base      string
	lag       atomic.Int64 // how many calls are refused although the token lives
}

func newApps(t *testing.T) *apps {
	t.Helper()
	a := new(apps)
	a.Provider = fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.OAuth, Credentials: map[string]string{"app": "s3cret"}, Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate},
		API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/b") || r.URL.Query().Has("forbidden") || a.lag.Add(-1) >= 0 {
				answers(http.StatusUnauthorized, "application/json", `{"error":"invalid_token"}`)(w, r)
				return
			}
			mirror(w, r)
		}),
	})
	a.base = a.Start(t)
	a.healer = &healer{fetch: fetcher(t, strings.ReplaceAll(providerRealms[fakeprovider.OAuth], "$", a.base), a.base)}
	first, err := a.fetch(t.Context())
	noError(t, err)
	a.current = first
	a.transport = over(http.DefaultTransport.(*http.Transport).Clone(), Job{})
	a.transport.Source = a.healer
	a.transport.Job = func(*http.Request) (Job, error) {
		return a.job(Job{Ref: someRef, Dial: strings.TrimPrefix(a.base, "http://")}), nil
	}
	return a
}

// call calls the API and returns the status.
func (a *apps) call(t *testing.T, target string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, a.base+target, nil)
	req.RequestURI = ""
	resp, err := a.transport.RoundTrip(req)
	noError(t, err)
	return read(t, resp).status
}

// Calls that lack a right, and calls that do not, in turn: the first kind costs
// one token, since the second one does not cure it either.
func TestHealMissingRight(t *testing.T) {
	a := newApps(t)
	for range 500 {
		equal(t, http.StatusOK, a.call(t, "/a"), "/a")
		equal(t, http.StatusUnauthorized, a.call(t, "/b"), "/b")
	}
	equal(t, 2, a.Fetches(), "token requests")
	equal(t, 0, len(a.helped), "heals that helped")
}

// One path, of which some calls lack a right.
func TestHealMissingRightOnOnePath(t *testing.T) {
	a := newApps(t)
	for range 500 {
		equal(t, http.StatusOK, a.call(t, "/a"), "accepted")
		equal(t, http.StatusUnauthorized, a.call(t, "/a?forbidden"), "refused")
	}
	equal(t, 2, a.Fetches(), "token requests")
	a.Revoke(a.Newest())
	a.call(t, "/a") // it might be another that lacks the right
	equal(t, http.StatusOK, a.call(t, "/a"), "after the token died")
}

// A job that calls only what is refused does not hold up the healing of others.
func TestHealBesideAMissingRight(t *testing.T) {
	a := newApps(t)
	for range 60 {
		equal(t, http.StatusUnauthorized, a.call(t, "/b"), "/b")
	}
	for round := range 3 {
		a.Revoke(a.Newest())
		equal(t, http.StatusUnauthorized, a.call(t, "/b"), "/b")
		for range 5 {
			equal(t, http.StatusOK, a.call(t, "/a"), fmt.Sprint("/a, round ", round))
		}
	}
	equal(t, 2+3, a.Fetches(), "token requests")
	equal(t, 3, len(a.helped), "heals that helped")
}

// Tokens that really die one after the other are blamed each time, and each
// heal helps.
func TestHealDeathsInQuickSuccession(t *testing.T) {
	a := newApps(t)
	equal(t, http.StatusOK, a.call(t, "/a"), "/a")
	const deaths = 50
	for range deaths {
		a.Revoke(a.Newest())
		equal(t, http.StatusOK, a.call(t, "/a"), "/a")
	}
	equal(t, slices.Repeat([]realm.Blame{realm.BlameToken}, deaths), a.blamed, "blamed")
	equal(t, deaths, len(a.helped), "heals that helped")
}

// A provider whose API learns of a fresh token too late. The refusal that this
// token did not cure is forgotten as soon as another one does.
func TestHealWhenTheAPILags(t *testing.T) {
	a := newApps(t)
	equal(t, http.StatusOK, a.call(t, "/a"), "/a")
	a.Revoke(a.Newest())
	a.lag.Store(1) // the API refuses the second attempt
	equal(t, http.StatusUnauthorized, a.call(t, "/a"), "/a, while the API lags")
	a.Revoke(a.Newest())
	for range 3 {
		equal(t, http.StatusOK, a.call(t, "/a"), "/a, after its token died")
		a.Revoke(a.Newest())
	}
}

// A token that somebody else bought tells nothing of the one before it: a
// renewal may have ended that. And one that was refused may have died since.
func TestHealWithATokenOfOthers(t *testing.T) {
	a := newApps(t)
	stale, err := a.fetch(t.Context())
	noError(t, err)
	lost := a.current
	a.current = stale
	a.transport.Job = func(*http.Request) (Job, error) {
		return Job{Ref: someRef, Lease: lost, Dial: strings.TrimPrefix(a.base, "http://")}, nil
	}
	equal(t, http.StatusOK, a.call(t, "/a"), "the token of others")
	equal(t, 0, len(a.helped), "heals that helped")
	a.Revoke(stale.Access.Reveal())
	equal(t, http.StatusUnauthorized, a.call(t, "/c"), "the dead token of others")
	equal(t, realm.BlameUnknown, a.transport.History.blame(requestOf(someRef, http.MethodGet, "/c"), refusal{401, "invalid_token"}, "T"), "blamed")
}
