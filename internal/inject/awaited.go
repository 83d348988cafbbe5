package inject

import (
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// awaited is an answer that streams on although its trailer may still tell that the
// API refused the token, as gRPC does with grpc-status. It cannot be sent again: the
// caller has all of it but its end.
type awaited struct {
	healing                // a copy, so that the healing of other answers costs no allocation
	lease     *realm.Lease // of the attempt that was answered
	status    int
	judgement judgement // without the trailer
}

// mayHaveTrailers reports whether trailers may come behind the body of an answer: an
// HTTP/1.1 body of known length has none, and the body of a 101 is a connection.
func mayHaveTrailers(resp *http.Response) bool {
	known := resp.ContentLength >= 0 && resp.ProtoMajor < 2
	return !known && resp.StatusCode != http.StatusSwitchingProtocols && resp.Body != nil
}

// awaitsTrailer reports whether it has to be seen in the trailer what an answer tells
// about the token.
func awaitsTrailer(resp *http.Response, j judgement, rule realm.DeadRule) bool {
	return j.verdict != realm.Dead && rule.AwaitsTrailer(resp.StatusCode) && mayHaveTrailers(resp)
}

// judgeTrailer judges the answer when its trailer is there. Where it refuses the token,
// the end of the answer waits for another one: the caller that tries again next should
// succeed. The second token is on trial then: only the next answer to such a request
// tells whether it helped.
func (a *awaited) judgeTrailer(trailer http.Header) {
	id, as := a.id(), refusal{status: a.status}
	isDead := a.lease.Target.Dead.Trailer(a.status, trailer)
	tried, wasTried := a.History.endTrial(id, a.lease.Access)
	switch {
	case isDead && wasTried:
		a.History.noteUncured(id, as)
	case !isDead && showsAccepted(a.judgement.verdict, a.status):
		a.History.noteAccepted(id, a.lease.Access)
		a.Source.Worked(a.job.Ref, a.lease)
		if wasTried {
			a.History.noteCured(id, tried)
			a.Source.Helped(a.job.Ref, a.lease)
		}
	}
	if !isDead {
		return
	}
	ctx := a.req.Context()
	lease, bought, err := a.Source.Heal(ctx, a.job.Ref, a.lease.Access, a.History.blame(id, as, a.lease.Access))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.logRefusal(a.job, http.StatusBadGateway, err)
	case bought && lease.Access != a.lease.Access:
		a.History.noteTrial(id, lease.Access, as)
	}
}
