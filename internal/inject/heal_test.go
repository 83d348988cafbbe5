package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A refused request is sent once more with the fresh token, whatever its
// method, and the upstream acts once.
func TestHeal(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		for _, c := range []struct {
			renewOn, method, body string
			dead                  http.HandlerFunc
		}{
			{onStatus, http.MethodGet, "", answers(401, "", "no")},
			{onStatus, http.MethodHead, "", answers(401, "", "")},
			{onStatus, http.MethodPost, "a=1", answers(401, "text/html", "<p>no")},
			{onStatus, http.MethodDelete, "", answers(401, "", "")},
			{onBody, http.MethodGet, "", answers(200, "application/json; encoding=utf-8", deadBody)},
			{onBody, http.MethodPost, `{"a":1}`, answers(200, "text/plain", deadBody)},
			{onBody, http.MethodPut, "x", answers(200, "application/problem+json", deadBody)},
			{onBody, http.MethodPatch, "x", func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush() // no Content-Length, and no type
				answers(200, "", deadBody)(w, r)
			}},
			{
				`[{"json":"0.errorCode","values":["INVALID_SESSION_ID"]}]`, http.MethodGet, "",
				answers(401, "application/json", `[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]`),
			},
		} {
			var acts, calls atomic.Int64
			p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				c.dead(w, r)
			}, func(w http.ResponseWriter, r *http.Request) {
				acts.Add(1)
				w.Header().Set("X-Line", r.Method+" "+r.RequestURI)
				_, _ = io.Copy(w, r.Body)
			}), inHeader)
			h, _ := p.healing(t, c.renewOn)
			got := p.do(t, p.request(t, c.method, "/a%2Fb?x=1", strings.NewReader(c.body)))
			what := c.renewOn + " " + c.method
			equal(t, http.StatusOK, got.status, what)
			if c.method != http.MethodHead {
				equal(t, c.body, got.body, what)
			}
			equal(t, c.method+" /a%2Fb?x=1", got.header.Get("X-Line"), what)
			equal(t, [2]int64{1, 1}, [2]int64{calls.Load(), acts.Load()}, what)
			equal(t, []realm.Hidden{token}, h.asked, what)
			got = p.do(t, p.request(t, c.method, "/", nil)) // the fresh token is used from now on
			equal(t, http.StatusOK, got.status, what)
			equal(t, [2]int64{1, 2}, [2]int64{calls.Load(), acts.Load()}, what)
			if asked, _, _ := h.counts(); asked != 1 {
				t.Errorf("%s: asked %d times", what, asked)
			}
		}
	})
}

// Both tokens are masked, wherever the second answer quotes them.
func TestHealScrubsBothTokens(t *testing.T) {
	p := serve(t, false, refusing(answers(401, "", ""), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Late")
		w.Header().Set("X-Old", "was "+token+", "+tokenEscaped)
		w.Header().Set("X-New", "is "+r.URL.RawQuery)
		_, _ = io.WriteString(w, "ok")
		w.Header().Set("X-Late", token+" "+fresh)
	}), inQuery)
	p.healing(t, onStatus)
	got := p.do(t, p.request(t, http.MethodGet, "/", nil))
	equal(t, "was "+realm.Mask+", "+realm.Mask, got.header.Get("X-Old"), "the old one")
	equal(t, "is access_token="+realm.Mask, got.header.Get("X-New"), "the new one")
	equal(t, realm.Mask+" "+realm.Mask, got.trailer.Get("X-Late"), "a trailer")
}

// Without another token the caller gets the refusal as it came.
func TestHealFails(t *testing.T) {
	for name, change := range map[string]func(*proxied, *healer){
		"no other": func(_ *proxied, h *healer) { h.fetch = nil },
		"an odd error": func(_ *proxied, h *healer) {
			h.fetch = func(context.Context) (*realm.Lease, error) { return nil, errBroken }
		},
		"the same": func(p *proxied, h *healer) {
			h.fetch = func(context.Context) (*realm.Lease, error) { return p.lease, nil }
		},
		"no target": func(_ *proxied, h *healer) {
			h.fetch = func(context.Context) (*realm.Lease, error) { return &realm.Lease{Access: fresh}, nil }
		},
		"another realm": func(_ *proxied, h *healer) {
			h.fetch = func(context.Context) (*realm.Lease, error) { return apiLease(inHeader), nil }
		},
	} {
		for _, rule := range []string{onStatus, `[{"status":[401],"json":"code"}]`} {
			var calls atomic.Int64
			p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				b, _ := io.ReadAll(r.Body)
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				w.Header().Set("X-Got", string(b))
				answers(401, "application/json", `{"code": 1}`)(w, r)
			}, inHeader)
			h, _ := p.healing(t, rule)
			change(p, h)
			got := p.do(t, p.request(t, http.MethodPost, "/", strings.NewReader("body")))
			equal(t, http.StatusUnauthorized, got.status, name)
			equal(t, `{"code": 1}`, got.body, name)
			equal(t, `Bearer error="invalid_token"`, got.header.Get("WWW-Authenticate"), name)
			equal(t, "body", got.header.Get("X-Got"), name)
			equal(t, 1, calls.Load(), name)
			if asked, _, worked := h.counts(); asked != 1 || worked != 0 {
				t.Errorf("%s: asked %d, worked %d", name, asked, worked)
			}
		}
	}
}

// A provider that refuses every token is called twice for a request.
func TestHealOnce(t *testing.T) {
	var calls atomic.Int64
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answers(200, "application/json", deadBody)(w, r)
	}, inHeader)
	h, _ := p.healing(t, onBody)
	got := p.do(t, p.request(t, http.MethodGet, "/", nil))
	equal(t, deadBody, got.body, "the second refusal")
	equal(t, 2, calls.Load(), "calls")
	wants(t, h, 1, 1, 0)
}

// A caller that leaves while the token is renewed gets its own error, and
// nothing is sent again.
func TestHealCallerLeaves(t *testing.T) {
	var calls atomic.Int64
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answers(401, "", "no")(w, r)
	}, inHeader)
	h, _ := p.healing(t, onStatus)
	ctx, cancel := context.WithCancel(t.Context())
	h.fetch = func(ctx context.Context) (*realm.Lease, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	req := getWith(ctx, "/")
	req.URL.Scheme, req.URL.Host = "http", p.job.Dial
	_, err := p.transport.RoundTrip(req) //nolint:bodyclose // there is none
	equal(t, true, errors.Is(err, context.Canceled), fmt.Sprint(err))
	equal(t, 1, calls.Load(), "calls")
}

// The replay fails like any request, and says nothing of either token.
func TestHealReplayFails(t *testing.T) {
	p := serve(t, false, refusing(answers(401, "", "no"), func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		noError(t, err)
		_, _ = fmt.Fprintf(conn, "what %s %s\r\n\r\n", r.URL.RawQuery, token)
		_ = conn.Close()
	}), inQuery)
	p.healing(t, onStatus)
	got := p.do(t, p.request(t, http.MethodGet, "/", nil))
	equal(t, http.StatusBadGateway, got.status, "status")
	equal(t, errMalformed.Error()+"\n", got.body, "error")
}

// Requests that fail together renew once; one that fails late does not kill
// the fresh token.
func TestHealTogether(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		const n = 20
		var gate sync.WaitGroup // all fail before one renews
		gate.Add(n)
		p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/late" {
				gate.Done()
				gate.Wait()
			}
			answers(200, "application/json", deadBody)(w, r)
		}, echo), inHeader)
		h, _ := p.healing(t, onBody)
		var done sync.WaitGroup
		for range n {
			done.Go(func() {
				got := p.do(t, p.request(t, http.MethodPost, "/", strings.NewReader("body")))
				if !strings.Contains(got.body, fresh) {
					t.Errorf("got %s", got.body)
				}
			})
		}
		done.Wait()
		wants(t, h, n, 1, n)
		p.job.Lease = p.lease
		got := p.transportGet(t, "/late")
		equal(t, true, strings.Contains(got.body, fresh), "a late failure")
		if _, made, _ := h.counts(); made != 1 {
			t.Errorf("renewed %d times", made)
		}
	})
}

// An upgrade is sent once; the next one has the fresh token.
func TestHealUpgrade(t *testing.T) {
	p := serve(t, false, refusing(answers(401, "", "no"), echo), inHeader)
	h, logs := p.healing(t, onStatus)
	p.lease.Target.Upgrade = true
	for _, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		c, answers := p.dial(t)
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		noError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		noError(t, err)
		equal(t, want, read(t, resp).status, "status")
	}
	if asked, _, _ := h.counts(); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	equal(t, []string{"an upgrade is sent once"}, reasons(logs), "the log")
}

// An upgraded connection stays one where the realm has a rule.
func TestHealLeavesUpgradesAlone(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}, inHeader)
	h, _ := p.healing(t, `[{"json":"errcode","values":[1]},{"status":[101]}]`)
	p.lease.Target.Upgrade = true
	c, answers := p.dial(t)
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	noError(t, err)
	_, err = http.ReadResponse(answers, nil) //nolint:bodyclose // the connection is the body
	noError(t, err)
	_, err = io.WriteString(c, `{"errcode":1}`)
	noError(t, err)
	back := make([]byte, 13)
	_, err = io.ReadFull(answers, back)
	noError(t, err)
	equal(t, `{"errcode":1}`, string(back), "echo")
	wants(t, h, 0, 0, 1)
}

// Who is told of the lease that a request is sent again with.
func TestHealTells(t *testing.T) {
	p := serve(t, false, refusing(answers(401, "", ""), echo), inHeader)
	p.healing(t, onStatus)
	p.job.Ref = realm.Ref{Realm: "r", Key: "k"}
	var told []string
	p.transport.Renewed = func(_ *http.Request, ref realm.Ref, l *realm.Lease) {
		told = append(told, ref.String()+" "+l.Access.Reveal())
	}
	p.transportGet(t, "/")
	equal(t, []string{realm.Ref{Realm: "r", Key: "k"}.String() + " " + fresh}, told, "told")
}

// transportGet sends a request through the transport alone.
func (p *proxied) transportGet(t *testing.T, target string) answer {
	t.Helper()
	req := getWith(t.Context(), target)
	req.URL.Scheme, req.URL.Host, _ = strings.Cut(p.upstream.URL, "://")
	resp, err := p.transport.RoundTrip(req)
	noError(t, err)
	return read(t, resp)
}

// A realm that changed meanwhile: the fresh token has other places and no
// rule. Nothing of the first attempt is left in the second.
func TestHealWithAnotherRealm(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if carries(r, token) {
			answers(401, "", "")(w, r)
			return
		}
		echo(w, r)
	}, inQuery)
	h, _ := p.healing(t, onStatus)
	h.fetch = func(context.Context) (*realm.Lease, error) {
		l := lease([]string{p.job.Dial}, inHeader)
		l.Access, l.Values[0], l.Target.AllowHTTP = fresh, "Bearer "+fresh, true
		return l, nil
	}
	got := p.do(t, p.request(t, http.MethodGet, "/x?access_token=evil&a=1", nil))
	line, fields, _ := strings.Cut(got.body, "\n")
	equal(t, "GET /x?access_token=evil&a=1", line, "the request line") // no place of the new realm
	equal(t, true, strings.Contains(fields, "Authorization: Bearer "+fresh), fields)
	equal(t, false, strings.Contains(got.body, token), "the old token")
	wants(t, h, 1, 1, 0)
}

// A refusal that says how long it is, and then hangs, holds nobody up: its
// status says enough.
func TestHealDoesNotWaitForTheRefusal(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		late := make(hand)
		p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no")
			w.(http.Flusher).Flush()
			select {
			case late <- time.Time{}:
			case <-r.Context().Done(): // nobody looks at the clock
			}
			<-r.Context().Done()
		}, echo), inHeader)
		h, _ := p.healing(t, onStatus)
		p.transport.after = late.after
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		got := p.do(t, p.request(t, http.MethodPost, "/", strings.NewReader("body")).WithContext(ctx))
		equal(t, true, strings.Contains(got.body, fresh), got.body)
		wants(t, h, 1, 1, 1)
	})
}
