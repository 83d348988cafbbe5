package inject

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// healing is a request to a realm that can tell a dead token.
type healing struct {
	*Transport
	req   *http.Request
	job   Job
	lease *realm.Lease
	body  *record // nil for a request without a body, or with too large a one
}

// heal sends a request. When the answer is that of a dead token, another token
// is asked for, and the request is sent once more: whatever its method, since
// the API refused before it acted. Where there is no other token, or the
// request cannot be sent again, the caller gets the answer as it came.
func (t *Transport) heal(req *http.Request, job Job, lease *realm.Lease) (*http.Response, error) {
	first, body := recordBody(req, lease.Target.ReplayMax)
	h := healing{t, req, job, lease, body}
	out, err := prepare(first, job, lease)
	if err != nil {
		return t.refuse(req, job, err)
	}
	resp, err := t.base(job, lease.Target).RoundTrip(&out.Request)
	if err != nil {
		body.release()
		return t.fail(req, job, used{lease}, err)
	}
	resp, verdict := h.judged(resp, lease)
	if verdict == realm.Dead {
		if again := h.renew(req.Context()); again != nil {
			h.abandon(resp)
			return h.replay(again)
		}
		if own := req.Context().Err(); own != nil {
			body.release()
			h.abandon(resp)
			return nil, own
		}
	}
	body.release()
	return t.finish(out, resp, req, job, used{lease})
}

// abandon closes the answer to the first attempt. Over HTTP/2 that waits until
// nobody reads the request's body, which may be as long as the caller likes.
func (h *healing) abandon(resp *http.Response) {
	if h.body.idle() {
		_ = resp.Body.Close()
		return
	}
	go func() { _ = resp.Body.Close() }()
}

// judged judges an answer, and tells the source of a token that worked.
func (h *healing) judged(resp *http.Response, lease *realm.Lease) (*http.Response, realm.Verdict) {
	if lease.Target.Dead == nil { // of the second attempt: the realm has changed
		return resp, realm.Alive
	}
	resp, verdict := h.judge(resp, h.req.Method, lease.Target.Dead)
	if accepted(verdict, resp.StatusCode) {
		h.Source.Worked(h.job.Ref, lease)
	}
	return resp, verdict
}

// second is the second attempt.
type second struct {
	out   *outgoing
	lease *realm.Lease
}

// renew asks for another token and makes the second attempt of it; nil where
// there is none. A request that cannot be sent again asks all the same, and
// waits: the caller that tries again next should succeed.
func (h *healing) renew(ctx context.Context) *second {
	lease, err := h.Source.Renew(ctx, h.job.Ref, h.lease.Access)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		h.logRefusal(h.job, http.StatusBadGateway, err)
		return nil
	case lease.Access == h.lease.Access || lease.Target == nil:
		return nil
	case isUpgrade(h.req):
		h.logSkipped("an upgrade is sent once")
		return nil
	}
	if hasBody(h.req) && h.body == nil {
		h.logSkipped(tooLarge)
		return nil
	}
	out, err := prepare(h.body.again(h.req), h.job, lease)
	if err != nil {
		h.logRefusal(h.job, http.StatusBadGateway, err)
		return nil
	}
	if h.body != nil && !h.body.take() {
		h.logSkipped(tooLarge)
		return nil
	}
	return &second{out, lease}
}

const tooLarge = "its body is larger than replay_max"

func (h *healing) logSkipped(why string) {
	if h.Log != nil {
		h.Log.Warn("the API refused the token, and the request was not sent again",
			zap.String("realm", h.job.Ref.Realm), zap.String("key", h.job.Ref.Key), zap.String("reason", why))
	}
}

// replay sends the request for the second time. What comes now is the
// caller's, a dead token's answer too.
func (h *healing) replay(s *second) (*http.Response, error) {
	if h.Renewed != nil {
		h.Renewed(h.req, h.job.Ref, s.lease)
	}
	tokens := used{s.lease, h.lease}
	resp, err := h.base(h.job, s.lease.Target).RoundTrip(&s.out.Request)
	if err != nil {
		return h.fail(h.req, h.job, tokens, err)
	}
	resp, _ = h.judged(resp, s.lease)
	return h.finish(s.out, resp, h.req, h.job, tokens)
}
