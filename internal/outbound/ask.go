package outbound

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/net/proxy"
)

// maxHeader bounds what a proxy may say before it passes bytes on.
const maxHeader = 64 << 10

// askHTTP asks an http or https proxy for a tunnel (RFC 9110 section 9.3.6).
func (t *tunnel) askHTTP(conn net.Conn, target string) error {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target,
		Header: http.Header{"User-Agent": {""}}, // none is sent
	}
	if t.proxy.User != "" || t.proxy.Password != "" {
		req.SetBasicAuth(t.proxy.User.Reveal(), t.proxy.Password.Reveal())
		req.Header["Proxy-Authorization"] = req.Header["Authorization"]
		delete(req.Header, "Authorization")
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	from := bufio.NewReader(io.LimitReader(conn, maxHeader))
	resp, err := http.ReadResponse(from, req)
	if err != nil {
		return err
	}
	code := resp.StatusCode
	if code >= 200 && code < 300 { // a length that it claims says nothing
		if from.Buffered() > 0 {
			return t.failed(Refused, "sent bytes that nobody asked for")
		}
		return nil
	}
	_ = conn.Close() // first, so that the next line does not wait for a body
	_ = resp.Body.Close()
	switch {
	case code == http.StatusProxyAuthRequired && t.proxy.User == "" && t.proxy.Password == "":
		return t.failed(WantsCredentials, "asks for a user and a password (407)")
	case code == http.StatusProxyAuthRequired:
		return t.failed(WantsCredentials, "does not accept the user and the password (407)")
	case code >= http.StatusInternalServerError:
		return t.failed(NotReached, "does not reach the provider ("+strconv.Itoa(code)+")")
	default:
		return t.failed(Refused, "does not let the connection through ("+strconv.Itoa(code)+")")
	}
}

// askSOCKS asks a SOCKS5 proxy (RFC 1928, RFC 1929). The error of the library has no
// type; its text holds the reply of the proxy and no credential.
func (t *tunnel) askSOCKS(ctx context.Context, conn net.Conn, target string) error {
	var auth *proxy.Auth
	if t.proxy.User != "" || t.proxy.Password != "" {
		auth = &proxy.Auth{User: t.proxy.User.Reveal(), Password: t.proxy.Password.Reveal()}
	}
	dialer, err := proxy.SOCKS5("tcp", t.proxy.Host, auth, opened{conn})
	if err != nil {
		return err
	}
	_, err = dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", target)
	var op *net.OpError
	if err == nil || !errors.As(err, &op) || ctx.Err() != nil {
		return err
	}
	for text, known := range socksReplies {
		if op.Err.Error() == text {
			return t.failed(known.fault, known.text)
		}
	}
	return err
}

// socksReplies are the errors of golang.org/x/net/internal/socks.
var socksReplies = map[string]struct {
	fault Fault
	text  string
}{
	"no acceptable authentication methods":            {WantsCredentials, "asks for a user and a password"},
	"username/password authentication failed":         {WantsCredentials, "does not accept the user and the password"},
	"unknown error general SOCKS server failure":      {NotReached, "does not reach the provider"},
	"unknown error network unreachable":               {NotReached, "does not reach the provider's network"},
	"unknown error host unreachable":                  {NotReached, "does not reach the provider"},
	"unknown error connection refused":                {NotReached, "finds nobody at the provider's address"},
	"unknown error TTL expired":                       {NotReached, "does not reach the provider in time"},
	"unknown error connection not allowed by ruleset": {Refused, "does not let the connection through"},
	"unknown error command not supported":             {Refused, "makes no connections"},
	"unknown error address type not supported":        {NotReached, "takes no address of this kind"},
}

// opened is a dialer that has dialled already.
type opened struct{ conn net.Conn }

func (o opened) Dial(string, string) (net.Conn, error) { return o.conn, nil }

func (o opened) DialContext(context.Context, string, string) (net.Conn, error) { return o.conn, nil }
