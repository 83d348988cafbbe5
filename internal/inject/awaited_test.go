package inject

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const onGRPC = `[{"header":"grpc-status","values":["16"]}]`

// message answers as gRPC does: a body, and the status behind it.
func message(status, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, body)
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	}
}

// A trailer that refuses the token renews it for the next request: what it ended has
// gone out.
func TestAwaitedTrailer(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, refusing(message("16", "half"), message("0", "whole")), inHeader)
		h, logs := p.healing(t, onGRPC)
		first := p.do(t, p.request(t, http.MethodPost, "/pkg.Service/Method", strings.NewReader("x")))
		equal(t, "half", first.body, "body")
		equal(t, "16", first.trailer.Get("Grpc-Status"), "status")
		wants(t, h, 1, 1, 0)
		second := p.do(t, p.request(t, http.MethodPost, "/pkg.Service/Method", strings.NewReader("x")))
		equal(t, "whole", second.body, "body")
		equal(t, "0", second.trailer.Get("Grpc-Status"), "status")
		wants(t, h, 1, 1, 1)
		equal(t, []realm.Hidden{fresh}, h.helped, "helped")
		equal(t, 0, logs.Len(), "log")
	})
}

// An answer of gRPC without a message has its status in the header, and is sent again.
func TestTrailersOnly(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Grpc-Status", "16")
			w.Header().Set("Content-Type", "application/grpc")
		}, message("0", "whole")), inHeader)
		h, _ := p.healing(t, onGRPC)
		got := p.do(t, p.request(t, http.MethodPost, "/pkg.Service/Method", strings.NewReader("x")))
		equal(t, "whole", got.body, "body")
		equal(t, "0", got.trailer.Get("Grpc-Status"), "status")
		wants(t, h, 1, 1, 1)
		equal(t, []realm.Hidden{fresh}, h.helped, "helped")
	})
}

// A refusal in a trailer that a fresh token does not cure costs one token, and does
// not make others pay.
func TestUncuredTrailer(t *testing.T) {
	p := serve(t, true, message("16", "no"), inHeader)
	h, _ := p.healing(t, onGRPC)
	for range 20 {
		p.do(t, p.request(t, http.MethodPost, "/pkg.Service/Forbidden", strings.NewReader("x")))
	}
	asked, made, worked := h.counts()
	if made != 1 || worked != 0 || asked != 20 {
		t.Errorf("asked %d, made %d, worked %d", asked, made, worked)
	}
	equal(t, realm.BlameRequest, h.blamed[19], "blame")
	equal(t, 0, len(h.helped), "helped")
}

// What the API has sent reaches the caller before another token is there; only the end
// waits for it.
func TestAwaitedTrailerHoldsNothingBack(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, message("16", "all of it"), inHeader)
		h, _ := p.healing(t, onGRPC)
		release := make(chan struct{})
		fetch := h.fetch
		h.fetch = func(ctx context.Context) (*realm.Lease, error) {
			<-release
			return fetch(ctx)
		}
		resp, err := p.front.Client().Do(p.request(t, http.MethodPost, "/", strings.NewReader("x")))
		noError(t, err)
		got := make([]byte, len("all of it"))
		_, err = io.ReadFull(resp.Body, got)
		noError(t, err)
		equal(t, "all of it", string(got), "body")
		close(release)
		equal(t, "16", read(t, resp).trailer.Get("Grpc-Status"), "status")
		wants(t, h, 1, 1, 0)
	})
}

// Where the body is looked into as well, a trailer that came with it is seen before the
// answer has gone out, and one that comes late is seen at its end.
func TestTrailerBesideBody(t *testing.T) {
	const rules = `[{"json":"errcode","values":[40001]},{"header":"X-Error","values":["dead"]}]`
	for _, slow := range []bool{false, true} {
		expired := make(hand)
		p := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"errcode":`)
			w.(http.Flusher).Flush()
			if slow && !carries(r, fresh) {
				expired <- time.Time{}
			}
			_, _ = io.WriteString(w, `0}`)
			if !carries(r, fresh) {
				w.Header().Set(http.TrailerPrefix+"X-Error", "dead")
			}
		}, inHeader)
		h, _ := p.healing(t, rules)
		p.transport.after = expired.after
		got := p.do(t, p.request(t, http.MethodGet, "/", nil))
		equal(t, `{"errcode":0}`, got.body, "body")
		wantError, worked := "", 1
		if slow {
			wantError, worked = "dead", 0
		}
		equal(t, wantError, got.trailer.Get("X-Error"), "trailer")
		wants(t, h, 1, 1, worked)
	}
}

// No token is on trial for longer than until the next answer, and not too many are.
func TestTrials(t *testing.T) {
	var h History
	ref := realm.Ref{Realm: "r", Key: "k"}
	id, as := requestOf(ref, "POST", "/a"), refusal{status: 200}
	h.noteTrial(id, "new", as)
	for _, c := range []struct {
		id    requestID
		token realm.Hidden
		want  bool
	}{{id, "old", false}, {requestOf(ref, "POST", "/b"), "new", false}, {id, "new", true}, {id, "new", false}} {
		_, got := h.endTrial(c.id, c.token)
		equal(t, c.want, got, string(c.token))
	}
	for i := range maxTrials + 10 {
		h.noteTrial(requestOf(ref, "POST", strings.Repeat("x", i)), "new", as)
	}
	if n := len(h.trials); n > maxTrials {
		t.Errorf("%d trials", n)
	}
}
