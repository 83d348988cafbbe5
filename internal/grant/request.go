package grant

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// outgoing is a token request with everything filled in.
type outgoing struct {
	method string
	url    string
	header http.Header
	body   []byte
	// computed are the values of expressions: confidential texts that stand in
	// no secret.
	computed []string
	// token is all that there is of a recipe without a request.
	token realm.Hidden
}

// render fills a recipe in. Errors are *realm.FieldError: a field of the
// secret has a value that cannot stand where the recipe puts it, or the request
// would be larger than maxRendered.
func (r *recipe) render(v values, ref realm.Ref) (*outgoing, error) {
	out, err := r.fill(&v, ref)
	if v.overflow || err == nil && out.size() > maxRendered {
		return nil, tooLarge(r.url.field, ref.Realm)
	}
	return out, err
}

// fill is render without its bound. What it makes is not whole, and its error
// means nothing, where the values had no more room.
func (r *recipe) fill(v *values, ref realm.Ref) (*outgoing, error) {
	if err := r.compute(v); err != nil {
		return nil, err
	}
	if r.local != nil {
		return r.computeLocal(v)
	}
	v.written = 0 // what was signed is written once more
	v.path = make(map[string]string, len(r.path))
	for _, a := range r.path {
		v.path[a.name] = a.expand(v)
	}
	target, err := r.url.expand(v)
	if err != nil {
		return nil, err
	}
	out := &outgoing{method: r.method, url: r.withQuery(target, v), computed: v.computedTexts()}
	if out.header, err = r.renderHeader(v); err != nil {
		return nil, err
	}
	if out.body, err = r.body.render(v, ref); err != nil {
		return nil, err
	}
	return out, nil
}

// size is how much is sent, but for what frames it.
func (o *outgoing) size() int {
	size := len(o.url) + len(o.body)
	for name, values := range o.header {
		size += len(name) + len(values[0])
	}
	return size
}

// withQuery appends the arguments of the query, in their order.
func (r *recipe) withQuery(target string, v *values) string {
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	var b strings.Builder
	b.WriteString(target)
	for _, a := range r.query {
		value := a.expand(v)
		if !v.masked {
			value = queryEscape(value)
		}
		b.WriteString(sep + queryEscape(a.name) + "=" + value)
		sep = "&"
	}
	return b.String()
}

// request makes the HTTP request. It cannot be sent twice: without GetBody,
// net/http has no way to do so.
func (o *outgoing) request(ctx context.Context) (*http.Request, error) {
	var content io.Reader = http.NoBody
	if len(o.body) > 0 {
		content = bytes.NewReader(o.body)
	}
	req, err := http.NewRequestWithContext(ctx, o.method, o.url, content)
	if err != nil {
		return nil, err
	}
	req.GetBody = nil
	req.Header = o.header
	return req, nil
}

// report shows a request that was rendered with masked values.
func (o *outgoing) report() ReportRequest {
	header := make(map[string]string, len(o.header))
	for name := range o.header {
		header[name] = o.header.Get(name)
	}
	return ReportRequest{Method: o.method, URL: o.url, Header: header, Body: string(o.body)}
}
