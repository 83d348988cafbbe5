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
	sent  *realm.Lease // lease, with what was computed for the first attempt
	body  *record      // nil for a request without a body, or with too large a one
}

// heal sends a request. When the answer is that of a dead token, another token
// is asked for, and the request is sent once more: whatever its method, since
// the API refused it before it acted. Where there is no other token, or the
// request cannot be sent again, the caller gets the answer as it came.
func (t *Transport) heal(req *http.Request, job Job, lease *realm.Lease) (*http.Response, error) {
	first, body := recordBody(req, lease.Target.ReplayMax)
	h := healing{Transport: t, req: req, job: job, lease: lease, body: body}
	out, err := prepare(first, job, lease)
	if err != nil {
		return t.refuse(req, job, err)
	}
	h.sent = out.lease
	tokens := sentTokens{h.sent}
	if err := out.placeBody(out.lease); err != nil {
		closeBody(req)
		return t.fail(req, job, tokens, err)
	}
	resp, err := t.base(job, lease.Target).RoundTrip(&out.Request)
	if err != nil {
		body.release()
		return t.fail(req, job, tokens, err)
	}
	resp, j := h.judged(out, resp, lease)
	if j.verdict == realm.Dead {
		as := refusal{resp.StatusCode, j.code}
		if again := h.renew(req.Context(), as); again != nil {
			h.abandon(resp)
			return h.replay(again, as)
		}
		if own := req.Context().Err(); own != nil {
			body.release()
			h.abandon(resp)
			return nil, own
		}
	}
	body.release()
	return t.finish(out, resp, req, job, tokens)
}

// id is what History knows the request by.
func (h *healing) id() requestID {
	return requestOf(h.job.Ref, h.req.Method, h.req.URL.Path)
}

// judged judges an answer, and notes that the token worked where it did. Where the
// trailer tells that, it is noted when the trailer is there.
func (h *healing) judged(out *outgoing, resp *http.Response, lease *realm.Lease) (*http.Response, judgement) {
	if lease.Target.Dead == nil { // of the second attempt: the realm has changed
		return resp, judgement{verdict: realm.Alive}
	}
	resp, j := h.judge(resp, h.req.Method, lease.Target.Dead)
	if awaitsTrailer(resp, j, lease.Target.Dead) {
		out.awaited = &awaited{*h, lease, resp.StatusCode, j}
		return resp, j
	}
	if showsAccepted(j.verdict, resp.StatusCode) {
		h.History.noteAccepted(h.id(), lease.Access)
		h.Source.Worked(h.job.Ref, lease)
	}
	return resp, j
}

// abandon closes the answer to the first attempt. Over HTTP/2 that waits until
// nobody reads the request's body, which may be as long as the caller likes.
func (h *healing) abandon(resp *http.Response) {
	if h.body.isIdle() {
		_ = resp.Body.Close()
		return
	}
	go func() { _ = resp.Body.Close() }()
}

// second is the second attempt.
type second struct {
	out    *outgoing
	lease  *realm.Lease
	bought bool // the token was fetched for this request
}

// renew asks for another token and prepares the second attempt with it; nil
// where there is none. A request that cannot be sent again asks all the same,
// and waits: the caller that tries again next should succeed.
func (h *healing) renew(ctx context.Context, as refusal) *second {
	blame := h.History.blame(h.id(), as, h.lease.Access)
	lease, bought, err := h.Source.Heal(ctx, h.job.Ref, h.lease.Access, blame)
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
	out, err := prepare(h.body.secondRequest(h.req), h.job, lease)
	if err != nil {
		h.logRefusal(h.job, http.StatusBadGateway, err)
		return nil
	}
	if h.body != nil && !h.body.startReplay() {
		h.logSkipped(tooLarge)
		return nil
	}
	return &second{out, lease, bought}
}

const tooLarge = "its body is larger than replay_max"

func (h *healing) logSkipped(why string) {
	if h.Log != nil {
		h.Log.Warn("the API refused the token, and the request was not sent again",
			zap.String("realm", h.job.Ref.Realm), zap.String("key", h.job.Ref.Key), zap.String("reason", why))
	}
}

// replay sends the request for the second time. What is answered now is the
// caller's, even a refusal: a fresh token did not cure it.
func (h *healing) replay(s *second, as refusal) (*http.Response, error) {
	if h.Renewed != nil {
		h.Renewed(h.req, h.job.Ref, s.lease)
	}
	tokens := sentTokens{s.out.lease, h.sent}
	if err := s.out.placeBody(s.out.lease); err != nil {
		closeBody(&s.out.Request)
		return h.fail(h.req, h.job, tokens, err)
	}
	resp, err := h.base(h.job, s.lease.Target).RoundTrip(&s.out.Request)
	if err != nil {
		return h.fail(h.req, h.job, tokens, err)
	}
	resp, j := h.judged(s.out, resp, s.lease)
	switch {
	case j.verdict == realm.Dead && s.bought:
		// A token that somebody else bought may have died since.
		h.History.noteUncured(h.id(), refusal{resp.StatusCode, j.code})
	case s.out.awaited != nil:
		if s.bought {
			h.History.noteTrial(h.id(), s.lease.Access, as)
		}
	case showsAccepted(j.verdict, resp.StatusCode):
		h.History.noteCured(h.id(), as)
		if s.bought {
			h.Source.Helped(h.job.Ref, s.lease)
		}
	}
	return h.finish(s.out, resp, h.req, h.job, tokens)
}
