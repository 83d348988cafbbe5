package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var errNoPath = &realm.Error{
	Code: realm.CodeRealmNotFound, Status: http.StatusNotFound,
	Detail: "the path must begin with a realm and a key, /<realm>/<key>/..., and not lead out of them",
}

// cut takes the credential out of the request's path. It returns the credential,
// empty where the path names none, and a request with the rest of the path.
func (g *Gateway) cut(r *http.Request) (realm.Ref, *http.Request) {
	ref, rest, ok := splitPath(r.URL)
	if !ok {
		return realm.Ref{}, r
	}
	left := *r
	left.URL = rest
	return ref, &left
}

// splitPath takes the first two segments of a path as realm and key, each
// percent-decoded exactly once, and returns the URL with the rest, its bytes
// unchanged. It is false where a segment is missing, empty, or a dot segment,
// which would name another path once resolved (RFC 3986 section 5.2.4), and
// where a name holds what a matcher in front may read as another path (%2F).
//
// It is also false where the rest leads out of the first two segments. A
// matcher in front, which may be what keeps a caller from a credential, looks
// at the decoded and cleaned path, and would have seen another credential.
func splitPath(u *url.URL) (ref realm.Ref, rest *url.URL, ok bool) {
	path, ok := strings.CutPrefix(u.EscapedPath(), "/")
	if !ok {
		return ref, nil, false
	}
	if ref.Realm, path, ok = cutSegment(path); !ok {
		return ref, nil, false
	}
	if ref.Key, path, ok = cutSegment(strings.TrimPrefix(path, "/")); !ok {
		return ref, nil, false
	}
	if path == "" {
		path = "/"
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || climbs(decoded) {
		return ref, nil, false
	}
	left := *u
	left.Path, left.RawPath = decoded, path
	return ref, &left, true
}

// cutSegment cuts the first segment off a path that does not begin with a
// slash, and decodes it. What is left begins with one, or is empty.
func cutSegment(path string) (segment, rest string, ok bool) {
	end := strings.IndexByte(path, '/')
	if end < 0 {
		end = len(path)
	}
	segment, err := url.PathUnescape(path[:end])
	if err != nil || segment == "" || hasDots(segment) || realm.IsAmbiguousInPath(segment) {
		return "", "", false
	}
	return segment, path[end:], true
}

// hasDots reports whether a name holds a dot segment.
func hasDots(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// climbs reports whether a decoded path leads above where it begins.
func climbs(path string) bool {
	if !strings.Contains(path, "..") {
		return false
	}
	depth := 0
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}
