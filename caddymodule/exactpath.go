package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxCuts bounds how many places of a path are tried as the one where the
// site's part ends: a site's prefix has a few segments, and a caller may send
// a path of thousands.
const maxCuts = 32

// errPath refuses a path whose bytes are lost.
var errPath = &realm.Error{
	Code: realm.CodeInvalidField, Status: http.StatusBadRequest,
	Detail: "path: " + pathReason, Err: realm.Fieldf("path", "%s", pathReason),
}

const pathReason = "a directive in front of the proxy (handle_path, uri or rewrite) changed the path so that it is not " +
	"known any more what the API should get; send the path without '//', '.' and '..' segments and needless escapes"

// withSentPath returns the request with the path of the API as the caller
// sent it, see restorePath. The request that came is not changed.
func withSentPath(r *http.Request) (*http.Request, error) {
	u, err := restorePath(sentURL(r.Context()), r.URL)
	if err != nil || u == r.URL {
		return r, err
	}
	restored := *r
	restored.URL = u
	return &restored, nil
}

// sentURL is the URL of the request before any directive changed it; nil
// outside of Caddy's server.
func sentURL(ctx context.Context) *url.URL {
	if r, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return r.URL
	}
	return nil
}

// sentHost is the Host of the request before any directive changed it; "" outside of
// Caddy's server.
func sentHost(req *http.Request) string {
	if r, ok := req.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return r.Host
	}
	return ""
}

// restorePath returns the URL with the bytes that the caller sent for the
// path of the API. sent is the URL as it came, now what the directives in
// front of us made of it. now itself is returned where it is right.
//
// It is needed because Caddy's directives do more than they are asked for.
// handle_path and uri strip_prefix take a prefix away, and also merge "//" and
// resolve dot segments, encoded ones too; uri replace merges and resolves as
// well; rewrite decodes the path, so that %2F becomes a slash. A file server is
// safer that way. An API that counts its segments, or signs its paths, refuses
// what it gets or, worse, does something else.
//
// What was meant is told by comparing: the longest tail of the path that was
// sent which, treated as Caddy treats paths, is a tail of the path now. That
// tail is what the directives let through, and its bytes are put back; what now
// has in front of it is what the operator added. A directive that sets another
// path altogether lets nothing through, so that there is nothing to put back.
// In all other cases the bytes are lost, and the error is errPath.
//
// What was put back reads like the path that the matchers saw, once cleaned:
// nobody gets past a matcher with it.
func restorePath(sent, now *url.URL) (*url.URL, error) {
	if sent == nil || !strings.HasPrefix(sent.Path, "/") {
		return now, nil
	}
	if sent.RawPath == "" && (now.Path == sent.Path || !needsCleaning(sent.Path)) {
		return now, nil // it has nothing that could get lost: by far the most paths
	}
	path := sentPath(sent)
	cleaned := needsCleaning(path) || hasDots(sent.Path)
	switch {
	case now.Path == sent.Path && now.RawPath == sent.RawPath:
		return withPath(now, path), nil
	case !cleaned && now.RawPath != "" && path == sent.RawPath:
		return now, nil // only rewrite loses escapes, and then all of them
	}
	for cut, tries := 0, 0; tries < maxCuts; tries++ {
		if front, ok := fits(path, cut, now); ok {
			restored := withPath(now, front+path[cut:])
			if caddyhttp.CleanPath(restored.Path, true) != caddyhttp.CleanPath(now.Path, true) {
				break // dots beside encoded slashes: an API may read it as another path
			}
			return restored, nil
		}
		next := strings.IndexByte(path[cut+1:], '/')
		if next < 0 {
			break
		}
		cut += 1 + next
	}
	if lostIn(now.Path, path, cleaned) {
		return nil, errPath
	}
	return now, nil
}

// sentPath is the path of a URL as it was sent. Bytes that may not stand in a
// URI (RFC 3986 section 2), such as those of UTF-8 or a brace, are
// percent-encoded and nothing else is. net/url would encode the whole path
// anew for their sake, so that %2F became a slash.
func sentPath(u *url.URL) string {
	if u.RawPath == "" {
		return u.EscapedPath()
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(u.RawPath) {
		c := u.RawPath[i]
		switch {
		case c >= 0x80, c <= ' ', strings.IndexByte("\"<>\\^`{|}\x7f", c) >= 0:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fits reports whether the tail of path that begins at cut is what the
// directives let through, and returns what now has in front of it, encoded.
func fits(path string, cut int, now *url.URL) (front string, ok bool) {
	site := path[:cut]
	if decoded, err := url.PathUnescape(site); err != nil || hasDots(decoded) {
		return "", false // where the site's part ends cannot be told
	}
	for _, form := range formsOf(path[cut:]) {
		front, ok := strings.CutSuffix(now.Path, form)
		if !ok {
			continue
		}
		if front != "" {
			// A slash too much between a base URL and a path is common. One
			// inside of what the directives replaced may have been merged.
			escaped := escapePath(front)
			return escaped, !strings.Contains(strings.TrimLeft(site, "/"), "//") && strings.HasPrefix(now.EscapedPath(), escaped)
		}
		if cut > 0 {
			return "", true
		}
		// Nothing was taken away and nothing added: the path was cleaned, if
		// the encoded dot segments, which a removed prefix may have been
		// resolved with, are still there.
		escaped := now.EscapedPath()
		return "", escaped == caddyhttp.CleanPath(path, true) || escaped == caddyhttp.CleanPath(path, false)
	}
	return "", false
}

// formsOf are the forms, decoded, that Caddy's directives give to a path that
// they let through: as it is, cleaned, and cleaned once more when decoded.
func formsOf(path string) []string {
	forms := make([]string, 0, 6)
	add := func(encoded string) string {
		decoded, err := url.PathUnescape(encoded)
		if err == nil {
			forms = append(forms, decoded)
		}
		return decoded
	}
	whole := add(path)
	for _, merge := range [...]bool{true, false} {
		decoded := add(caddyhttp.CleanPath(path, merge))
		add(caddyhttp.CleanPath(escapePath(decoded), false))
	}
	add(caddyhttp.CleanPath(escapePath(whole), true)) // of one that net/url encoded anew, see sentPath
	return forms
}

// lostIn reports whether now has something of the path that was sent, beside
// or in which bytes may have been lost. In a path that was cleaned each segment
// may have stood beside others that are gone; else only the escapes of a
// segment can be.
func lostIn(now, path string, cleaned bool) bool {
	for segment := range strings.SplitSeq(path, "/") {
		decoded, err := url.PathUnescape(segment)
		if err != nil || cleaned && anyWithin(now, decoded) {
			return true
		}
		if escapePath("/"+decoded) != "/"+segment && strings.Contains(now+"/", "/"+decoded+"/") {
			return true
		}
	}
	return false
}

// anyWithin reports whether a segment of path is a part of s.
func anyWithin(path, s string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" && strings.Contains(s, segment) {
			return true
		}
	}
	return false
}

// withPath returns the URL with another path, given as it is encoded.
func withPath(u *url.URL, path string) *url.URL {
	decoded, err := url.PathUnescape(path)
	if err != nil || u.Path == decoded && u.EscapedPath() == path {
		return u
	}
	changed := *u
	changed.Path, changed.RawPath = decoded, path
	return &changed
}

// needsCleaning reports whether a path has empty segments or dot segments.
func needsCleaning(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/.") && hasDots(path)
}

// escapePath is the usual encoding of a path.
func escapePath(path string) string { return (&url.URL{Path: path}).EscapedPath() }
