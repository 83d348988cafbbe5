package inject

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// fresh is the token after the first one.
const fresh = "canary/Fresh+0badf00d=="

const (
	onStatus = `[{"status":[401]}]`
	onBody   = `[{"json":"errcode","values":[40001,40014,42001]}]`
	deadBody = `{"errcode":40001,"errmsg":"invalid credential"}`
	goodBody = `{"errcode":0,"errmsg":"ok"}`
)

// ruleOf compiles renew_on as the product does.
func ruleOf(t tester, renewOn string) realm.DeadRule {
	t.Helper()
	r := realm.Realm{ID: "x"}
	noError(t, realm.Decode([]byte(`{"api":"https://api.example.com","renew_on":`+renewOn+`}`), "config", &r.Config))
	p, err := grant.Compile(r, false)
	noError(t, err)
	b, err := p.Bind(realm.Secret{Fields: map[string]realm.Hidden{"token": "T"}})
	noError(t, err)
	return b.Target().Dead
}

// healer is a Source with compare-and-renew over one token.
type healer struct {
	mu      sync.Mutex
	current *realm.Lease
	// fetch makes the next lease; nil: there is none.
	fetch  func(context.Context) (*realm.Lease, error)
	asked  []realm.Hidden // the tokens that failed, in order
	blamed []realm.Blame  // one for one
	made   int
	worked []realm.Hidden
	helped []realm.Hidden
}

var errNoOther = &realm.Error{Code: realm.CodeTokenUnavailable, Status: http.StatusServiceUnavailable, Detail: "backing off"}

// live is the token that a request gets now.
func (h *healer) live() *realm.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// job returns the job with the live token, where it has none.
func (h *healer) job(job Job) Job {
	if job.Lease == nil {
		job.Lease = h.live()
	}
	return job
}

// Heal renews for everything but a request that is at fault.
func (h *healer) Heal(ctx context.Context, _ realm.Ref, refused realm.Hidden, blame realm.Blame) (*realm.Lease, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.blamed = append(h.asked, refused), append(h.blamed, blame)
	if h.current.Access != refused {
		return h.current, false, nil
	}
	if h.fetch == nil || blame == realm.BlameRequest {
		return nil, false, errNoOther
	}
	l, err := h.fetch(ctx)
	if err == nil {
		h.made++
		h.current = l
	}
	return l, err == nil, err
}

func (h *healer) Helped(_ realm.Ref, l *realm.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.helped = append(h.helped, l.Access)
}

func (h *healer) Worked(_ realm.Ref, l *realm.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.worked = append(h.worked, l.Access)
}

func (h *healer) counts() (asked, made, worked int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked), h.made, len(h.worked)
}

// healing makes the realm of the proxy one that can tell a dead token, whose
// next token is fresh.
func (p *proxied) healing(t *testing.T, renewOn string) (*healer, *observer.ObservedLogs) {
	t.Helper()
	p.lease.Target.Dead, p.lease.Target.ReplayMax = ruleOf(t, renewOn), 1<<20
	h := &healer{current: p.lease, fetch: func(context.Context) (*realm.Lease, error) { return renewedLease(p.lease), nil }}
	p.job.Lease = nil
	p.transport.Job = func(*http.Request) (Job, error) { return h.job(p.job), nil }
	core, logs := observer.New(zap.WarnLevel)
	p.transport.Source, p.transport.Log = h, zap.New(core)
	return h, logs
}

// renewedLease is the lease of the fresh token with the same target.
func renewedLease(old *realm.Lease) *realm.Lease {
	l := lease(nil, old.Target.Inject...)
	l.Target, l.Access = old.Target, fresh
	for i, place := range old.Target.Inject {
		switch {
		case place.In == realm.PlaceURL:
			l.Values[i] = "canary%2FFresh%2B0badf00d%3D%3D"
		case place.Name == "Authorization":
			l.Values[i] = "Bearer " + fresh
		default:
			l.Values[i] = fresh
		}
	}
	return l
}

// carries reports whether a request that arrived carries the token.
func carries(r *http.Request, token string) bool {
	return r.Header.Get("Authorization") == "Bearer "+token || r.URL.Query().Get("access_token") == token
}

// refusing serves the calls with the fresh token, and counts all of them; the
// others get dead.
func refusing(dead, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if carries(r, fresh) {
			then(w, r)
			return
		}
		dead(w, r)
	}
}

func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// reasons are those of the log's lines.
func reasons(logs *observer.ObservedLogs) []string {
	var list []string
	for _, e := range logs.All() {
		if reason, ok := e.ContextMap()["reason"].(string); ok {
			list = append(list, reason)
		}
	}
	return list
}

func wants(t tester, h *healer, asked, made, worked int) {
	t.Helper()
	a, m, w := h.counts()
	if !slices.Equal([]int{a, m, w}, []int{asked, made, worked}) {
		t.Errorf("asked to renew %d times, renewed %d times, worked %d times; want %d, %d, %d", a, m, w, asked, made, worked)
	}
}

var errBroken = errors.New("broken")
