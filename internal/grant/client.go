package grant

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// DefaultTimeout of one call, where neither the realm nor the
	// configuration says another.
	DefaultTimeout = 10 * time.Second
	// maxAnswer bounds an answer, compressed and decompressed.
	maxAnswer = 1 << 20
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
)

var errTooLarge = errors.New("more than 1 MiB")

// Client makes the calls to token endpoints. Each goes over a connection of
// its own: net/http resends some requests when a kept connection turns out to
// be dead, and a token request must not be sent twice.
type Client struct {
	guarded, trusted http.RoundTripper
	// network makes the connections of realms that say how, and of all where the
	// configuration names a proxy.
	network *outbound.Network
	now     func() time.Time
}

// NewClient makes a client. guard dials for realms that are not trusted (nil:
// public addresses only, see netguard); now is the clock (nil: time.Now).
func NewClient(guard netguard.Dialer, now func() time.Time) *Client {
	if guard == nil {
		guard = netguard.Policy{}.Dialer(&net.Dialer{KeepAlive: -1})
	}
	if now == nil {
		now = time.Now
	}
	return &Client{
		guarded: newTransport(guard),
		trusted: newTransport((&net.Dialer{KeepAlive: -1}).DialContext),
		network: &outbound.Network{Dialer: &net.Dialer{KeepAlive: -1}},
		now:     now,
	}
}

// NewNetworkClient makes a client of a network. now is the clock (nil: time.Now).
func NewNetworkClient(n *outbound.Network, now func() time.Time) *Client {
	c := NewClient(n.Guard.Dialer(n.Dialer), now)
	c.network = n
	return c
}

// transport is that for a call of a way, which is nil for most. A connection is used
// once, so that nothing is kept for one way that another could be given.
func (c *Client) transport(way *realm.Way, trusted, isHTTPS bool) (http.RoundTripper, error) {
	switch proxy := c.network.ProxyFor(way); {
	case proxy != nil && !isHTTPS:
		return nil, outbound.ErrClear
	case way == nil && proxy == nil && trusted:
		return c.trusted, nil
	case way == nil && proxy == nil:
		return c.guarded, nil
	}
	t := newTransport(c.network.Dial(way, trusted))
	var err error
	t.TLSClientConfig, err = outbound.TLS(nil, way)
	return t, err
}

// newTransport makes an HTTP/1.1 transport without kept connections, without
// a proxy from the environment, and without transparent decompression, which
// would hide the size of an answer.
func newTransport(dial netguard.Dialer) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            watching(dial),
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              &protocols,
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte // decompressed; nil for a redirect
}

// send makes one call, under the watch of w. It uses the transport alone,
// because an http.Client follows redirects and puts the URL, with its query,
// into its errors.
func (c *Client) send(ctx context.Context, out *outgoing, way *realm.Way, trusted bool, w *wire) (*answer, error) {
	req, err := out.request(w.watch(ctx))
	if err != nil {
		return nil, errors.New("the request could not be made")
	}
	transport, err := c.transport(way, trusted, req.URL.Scheme == "https")
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	failpoint.Hit("answer_begun")
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.redirect() {
		return a, nil
	}
	a.body, err = readBody(resp)
	return a, err
}

// redirect reports whether the provider points elsewhere.
func (a *answer) redirect() bool {
	return a.status >= http.StatusMultipleChoices && a.status < http.StatusBadRequest
}

// errEncoding: the answer is compressed in a way that was not asked for.
var errEncoding = errors.New("the answer has a content encoding that was not asked for")

// errGzip: the answer says that it is gzip and is not.
var errGzip = errors.New("the answer is broken gzip")

// readBody reads an answer to its end, or fails with errTooLarge. What is
// compressed is bounded before and after: empty gzip members could go on for
// ever without giving a byte.
func readBody(resp *http.Response) ([]byte, error) {
	raw := &bounded{r: resp.Body, left: maxAnswer}
	switch strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))) {
	case "", "identity":
		return io.ReadAll(raw)
	case "gzip", "x-gzip":
		return gunzip(raw)
	}
	return nil, errEncoding
}

// gunzip tells a broken connection, after which a refresh token may be spent,
// from content that is broken.
func gunzip(raw *bounded) ([]byte, error) {
	var body []byte
	z, err := gzip.NewReader(raw)
	if err == nil {
		body, err = io.ReadAll(&bounded{r: z, left: maxAnswer})
	}
	switch {
	case raw.err != nil && !errors.Is(raw.err, io.EOF):
		return nil, raw.err // the connection's fault, not the content's
	case err == nil, errors.Is(err, errTooLarge):
		return body, err
	}
	return nil, errGzip
}

// bounded fails with errTooLarge where an io.LimitedReader would pretend that
// the end is reached. It remembers the error of what it reads from.
type bounded struct {
	r    io.Reader
	left int
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= n; b.left < 0 {
		n, err = 0, errTooLarge
	}
	b.err = err
	return n, err
}

// withoutBOM removes the byte order mark that some servers put in front of
// JSON.
func withoutBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }
