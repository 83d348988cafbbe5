package inject

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// outgoing is the copy of a request that is sent, together with everything that
// the copy needs, so that all of it costs one allocation.
type outgoing struct {
	http.Request
	ctx untraced
	url url.URL
	// lease is what is sent, with the values that were computed for this request.
	lease *realm.Lease
	body  trailerFilter
	// answer is the body of the answer, see scrubTrailers.
	answer scrubbedBody
	// awaited is the answer whose trailer is judged; nil for one that is judged already.
	awaited *awaited
	// cache is the memory of the Cache-Control that keepPrivate may add.
	cache [1]string
}

// untraced is a context without a httptrace.ClientTrace. By one of these, the proxy
// in front has interim answers (1xx) handed to it directly, past everything that
// masks the token in them; they are dropped instead, and so they count for the limit
// of the answer's header. Another one would see the token as it is written.
type untraced struct {
	context.Context
	http1Only bool
}

// Value is the value of the parent, unless that is a trace. The handshake asks for
// http1Only.
func (c *untraced) Value(key any) any {
	if _, is := key.(http1Only); is {
		return c.http1Only
	}
	v := c.Context.Value(key)
	if _, is := v.(*httptrace.ClientTrace); is {
		return nil
	}
	return v
}

// withoutTrace returns the context without a trace, in the memory of out.
func (out *outgoing) withoutTrace(ctx context.Context, http1Only bool) context.Context {
	out.ctx = untraced{ctx, http1Only}
	return &out.ctx
}

// prepare returns the request to send: with its destination, without the copies
// of the parameter that the caller sent, and with the token in its places. It
// does not use http.Request.Clone, which copies the Trailer map: only the map
// that the request came with is filled when its body ends.
func prepare(req *http.Request, job Job, lease *realm.Lease) (*outgoing, error) {
	if len(lease.Values) != len(lease.Target.Inject) {
		return nil, errPlacement
	}
	to, err := chooseDestination(req, job, lease.Target)
	if err != nil {
		return nil, err
	}
	out := &outgoing{url: *req.URL}
	out.Request = *req.WithContext(out.withoutTrace(req.Context(), isUpgrade(req)))
	out.URL, out.Host = &out.url, to.host
	out.url.Scheme, out.url.Host, out.url.User = to.scheme, to.authority, nil
	slot, err := out.askedPath(lease.Target, job.UseAPI)
	if err != nil {
		return nil, err
	}
	if job.Sender != nil {
		if err := job.Sender.MaySend(job.Ref, &out.Request); err != nil {
			return nil, err
		}
	}
	if lease.Computed != nil {
		if lease, err = computedFor(&out.Request, lease); err != nil {
			return nil, err
		}
	}
	out.lease = lease
	out.placeInPath(lease, slot)
	out.url.RawQuery = placeQuery(req.URL.RawQuery, lease)
	f := filterOf(job, lease.Target)
	out.Header = f.outgoingHeader(req.Header, lease)
	f.filterTrailers(out)
	if dead := lease.Target.Dead; dead != nil && dead.Looks() || lease.Target.Scrub {
		out.Header = narrowAcceptEncoding(out.Header)
	}
	if !out.hasToken(lease) || !out.hasPath(lease, slot) {
		return nil, errPlacement
	}
	return out, nil
}

// computedFor returns the lease with the values for a request. It is a copy: the
// lease is shared by all requests.
func computedFor(req *http.Request, lease *realm.Lease) (*realm.Lease, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	values, err := lease.Computed(realm.Outgoing{Method: method, Path: req.URL.EscapedPath(), Now: time.Now()})
	if err != nil {
		return nil, &realm.Error{
			Code: realm.CodeTokenUnavailable, Status: http.StatusBadGateway,
			Detail: "the token cannot be injected: " + err.Error(), Err: err,
		}
	}
	filled := *lease
	filled.Values, filled.Computed = values, nil
	return &filled, nil
}

// joinPath puts the api's base path in front of u's path, byte by byte: it is
// for the provider to interpret dot segments and escapes. The base path is a
// convenience and not a restriction; the provider decides what a token may do.
func joinPath(api, u *url.URL) {
	base := strings.TrimSuffix(api.Path, "/")
	if base == "" {
		return
	}
	raw := ""
	if api.RawPath != "" || u.RawPath != "" {
		raw = strings.TrimSuffix(api.EscapedPath(), "/") + u.EscapedPath()
	}
	u.Path, u.RawPath = base+u.Path, raw
}

// hasToken reports whether the token is in each place where the realm wants it,
// and whether nothing but the token is there. It is the last check before the
// request is sent, and does not trust the code that put the token there: a
// second value of the same name might be the one that the provider reads.
func (out *outgoing) hasToken(lease *realm.Lease) bool {
	places := lease.Target.Inject
	query := out.url.RawQuery
	for i := len(places) - 1; i >= 0; i-- {
		p, value := places[i], lease.Values[i]
		switch {
		case value == "":
			return false
		case p.In == realm.PlaceHeader:
			if v := out.Header[p.Name]; len(v) != 1 || v[0] != value || isManaged(p.Name) {
				return false
			}
		case p.In == realm.PlaceURL:
			rest, ok := cutPair(query, p.Pair, value)
			if !ok {
				return false
			}
			query = rest
		case p.In == realm.PlaceCookie: // all of them at once, see below
		case p.In == realm.PlacePath: // see hasPath
		case p.In == realm.PlaceBody: // see placeBody
		default:
			return false
		}
	}
	return len(places) > 0 && hasCookies(out.Header, lease)
}

// cutPair cuts a pair, and the "&" in front of it, from the end of a query; false
// where the query does not end so.
func cutPair(query, pair, value string) (string, bool) {
	rest, ok := strings.CutSuffix(query, value)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutSuffix(rest, pair); !ok || pair == "" {
		return "", false
	}
	if rest == "" {
		return "", true
	}
	return strings.CutSuffix(rest, "&")
}

// isManaged reports whether net/http writes the header field by itself, or leaves
// it out on one of its protocols: a token there would not arrive.
func isManaged(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer",
		"Connection", "Proxy-Connection", "Keep-Alive", "Upgrade", "Te":
		return true
	}
	return false
}
