// Package apiclient reaches the admin API of a running instance by HTTP, for the
// commands. What it is given to show who it is goes to that API and nowhere
// else, and into no error.
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// DefaultBase is where token_admin listens in the documentation.
const DefaultBase = "http://localhost:8081"

const (
	// maxAnswer bounds an answer that is read as a whole.
	maxAnswer = 2 << 20
	// timeout bounds one request that is, and the wait for the header of any.
	timeout = time.Minute
)

// Options say where the API is, and what it is shown.
type Options struct {
	// Base is the address of token_admin, without /api. Empty: DefaultBase.
	Base string
	// Token is the admin token, or the key of a client; empty for none.
	Token realm.Hidden
	// User and Password are for a basic_auth in front of the API (RFC 7617),
	// which takes the place of Token; empty where there is none.
	User     string
	Password realm.Hidden
	// Connections is how many are kept. 0: 2.
	Connections int
	// Network and Address are dialled in place of the host of Base, such as tcp and
	// 127.0.0.1:443; empty for the host itself.
	Network, Address string
	// Roots are certificates (PEM) that are trusted beside the system's.
	Roots []byte
}

// Client sends requests to one API.
type Client struct {
	base    *url.URL
	auth    realm.Hidden // the header Authorization, "" for none
	isLocal bool
	http    *http.Client
}

// New makes a client. It sends nothing yet.
//
// What it sends is handed to nobody else: no redirect is followed, and no proxy
// of the environment is used.
func New(o Options) (*Client, error) {
	if o.Base == "" {
		o.Base = DefaultBase
	}
	base, err := parseBase(o.Base)
	if err != nil {
		return nil, err
	}
	auth, err := authorization(o)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		MaxIdleConnsPerHost: o.Connections, IdleConnTimeout: timeout, ResponseHeaderTimeout: timeout,
	}
	if o.Address != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, o.Network, o.Address)
		}
	}
	if len(o.Roots) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(o.Roots)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &Client{base: base, auth: auth, isLocal: o.Address != "" || isLoopback(base.Hostname()), http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// parseBase reads the address of the API. An error does not quote one that may have a
// password or a token in it.
func parseBase(text string) (*url.URL, error) {
	const where = "the address of the API (--api or TOKENS_API)"
	if !strings.Contains(text, "://") {
		meant, err := url.Parse("//" + text)
		if err != nil || meant.Host == "" || strings.ContainsAny(text, "@?#") {
			return nil, errors.New(where + " has no scheme: write it as " + DefaultBase)
		}
		if err := checkPort(where, meant); err != nil {
			return nil, err
		}
		scheme := "https://"
		switch {
		case meant.Hostname() == "": // ":8081", as other tools take a port of this machine
			scheme = "http://localhost"
		case isLoopback(meant.Hostname()):
			scheme = "http://"
		}
		return nil, errors.New(where + " has no scheme: write " + scheme + text)
	}
	base, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil || base.Host == "":
		return nil, errors.New(where + " cannot be read: write it as " + DefaultBase)
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New(where + " begins with http:// or https://: write it as " + DefaultBase)
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New(where + " is scheme, host, port and path: no user, no password, no query")
	case base.Hostname() == "":
		return nil, errors.New(where + " has no host: write " + base.Scheme + "://localhost" + base.Host + base.EscapedPath())
	}
	if err := checkPort(where, base); err != nil {
		return nil, err
	}
	return base, nil
}

// checkPort refuses a port that nothing listens on.
func checkPort(where string, u *url.URL) error {
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65_535 {
			return fmt.Errorf("%s has the port %s, which is not one from 1 to 65535", where, port)
		}
	}
	return nil
}

// authorization is the header of that name, of which there can be only one.
func authorization(o Options) (realm.Hidden, error) {
	switch basic := o.User != "" || o.Password != ""; {
	case basic && o.Token != "":
		return "", errors.New("give the API's admin token, or the user and password of the basic_auth in front of it, not both")
	case strings.Contains(o.User, ":"): // RFC 7617 section 2
		return "", errors.New("the user of a basic_auth has no colon")
	case strings.ContainsFunc(o.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the token for the API is one word of ASCII characters")
	case basic:
		return realm.Hidden("Basic " + base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password.Reveal()))), nil
	case o.Token != "":
		return "Bearer " + o.Token, nil
	}
	return "", nil
}

// Base is the address of the API.
func (c *Client) Base() string { return c.base.String() }

// IsInClear reports whether what is sent can be read on its way: it goes to
// another machine without TLS.
func (c *Client) IsInClear() bool { return c.base.Scheme == "http" && !c.isLocal }

// HasCredential reports whether the API is shown one.
func (c *Client) HasCredential() bool { return c.auth != "" }

// Host is the host of the API, with its port.
func (c *Client) Host() string { return c.base.Host }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends a request. The caller closes the body of the response, which may have
// any status and may stream. A body is JSON; nil for none. The error never is
// the *url.Error itself, which quotes the whole address.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	return c.do(ctx, method, path, body, "")
}

// Lines sends a request without a body for an answer that comes line by line, as
// it happens, and returns its body, which the caller closes. An answer without
// success is an error; see Error.
func (c *Client) Lines(ctx context.Context, method, path string) (io.ReadCloser, error) {
	return c.stream(ctx, method, path, "application/x-ndjson")
}

// Events is Lines for server-sent events, which come until one side ends them.
func (c *Client) Events(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.stream(ctx, http.MethodGet, path, "text/event-stream")
}

// stream sends a request without a body for an answer of one media type.
func (c *Client) stream(ctx context.Context, method, path, mediaType string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, method, path, nil, mediaType)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && kind == mediaType {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := c.Read(resp)
	if err == nil {
		err = c.Error(answer)
	}
	if err == nil {
		err = fmt.Errorf("%w: what %s answers is not what was expected", ErrNotAPI, c.base)
	}
	return nil, err
}

// do is Do with a header Accept; "" for none.
func (c *Client) do(ctx context.Context, method, path string, body []byte, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base()+path, bytes.NewReader(body))
	if err != nil {
		return nil, realm.Fieldf("", "has an id that cannot stand in an address")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

// Answer is an answer that was read as a whole.
type Answer struct {
	Status     int
	Body       []byte
	RetryAfter time.Duration

	problem bool
}

// Send sends a request and reads the answer, whatever its status is.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.Do(ctx, method, path, body)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.Read(resp)
}

// Read reads a response as a whole.
func (c *Client) Read(resp *http.Response) (a Answer, err error) {
	a.Status = resp.StatusCode
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	a.problem = kind == "application/problem+json"
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		a.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	if a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return Answer{}, c.unreachable(err)
	}
	return a, nil
}

// JSON sends in, unless it is nil, as JSON and reads the answer into out, unless
// that is nil. An answer without success is an error; see Error.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	answer, err := c.Send(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := c.Error(answer); err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return fmt.Errorf("%w: what %s answers is not what was expected", ErrNotAPI, c.base)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
