package caddymodule

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// siteOf returns where the caller reached the API, for a request as the proxy sends it;
// nil where that cannot be told. Which part of the path is the site's own is seen by
// comparing what the caller sent with what the API gets: handle_path and token_gateway
// take a beginning away, and rewrite may put another one there.
//
// The proxy in front has made X-Forwarded-Proto and X-Forwarded-Host what the caller
// used: what the request came with, where Caddy trusts the sender (trusted_proxies),
// and what Caddy itself saw otherwise.
func siteOf(req *http.Request) *inject.Site {
	sent := sentURL(req.Context())
	if sent == nil {
		return nil
	}
	scheme, host := req.Header.Get("X-Forwarded-Proto"), req.Header.Get("X-Forwarded-Host")
	if scheme != "http" && scheme != "https" {
		scheme = "http"
		if req.TLS != nil {
			scheme = "https"
		}
	}
	if host == "" {
		host = sentHost(req)
	}
	path, apiPath, ok := beginnings(sentPath(sent), req.URL.EscapedPath())
	if !ok || host == "" || !httpguts.ValidHostHeader(host) || strings.ContainsAny(host, "/?#@, ") {
		return nil
	}
	return &inject.Site{Origin: scheme + "://" + host, Path: path, APIPath: apiPath}
}

// beginnings returns what two paths have in front of the whole segments at their ends
// that are the same. Where there are none, it is not known what one path has to do with
// the other; but of a path that is the root, all of the other one is the beginning.
func beginnings(sent, now string) (ofSent, ofNow string, ok bool) {
	if now == "" || now == "/" {
		return strings.TrimSuffix(sent, "/"), "", true
	}
	same := 0
	for i := 1; i <= min(len(sent), len(now)) && sent[len(sent)-i] == now[len(now)-i]; i++ {
		if now[len(now)-i] == '/' {
			same = i
		}
	}
	return sent[:len(sent)-same], now[:len(now)-same], same > 1
}
