package inject

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A realm may want the token in a segment of the path, as Telegram does:
// /bot<token>/getMe, and /file/bot<token>/<path>. The app calls /getMe, or, by a
// library that insists on a token, /botDUMMY/getMe. Which paths have a dummy is
// the realm's to say and nobody else's: its entries are compared with the
// beginning of the path, byte for byte, so that no caller moves the token to
// where the API would keep it, or show it.

// pathSlot is where in an outgoing path the token goes.
type pathSlot struct {
	// place is the index of the entry in Target.Inject; -1 for a realm that has
	// none of a path.
	place int
	// base is the api's base path, escaped; "" where that is not used.
	base string
	// text is what is put into the path in front of the value, at its byte at.
	text string
	at   int
}

var errDotSegments = &realm.Error{
	Code: realm.CodeInvalidField, Status: http.StatusBadRequest,
	Detail: "path: " + dotSegments, Err: realm.Fieldf("path", "%s", dotSegments),
}

const dotSegments = "the token stands in the path, which must not have the segments '.' and '..' then, however they are written"

// RulePath makes of a caller's path the one that rules are asked about: with the
// api's base path in front where that is used, and without the dummy in place of
// which the token is sent. Whoever may not call /deleteWebhook may not do so by
// /bot1/deleteWebhook either.
func RulePath(target *realm.Target, u *url.URL, useAPI bool) { cutDummy(target, u, useAPI) }

// askedPath is RulePath for the outgoing request, and tells where the token goes.
func (out *outgoing) askedPath(target *realm.Target, useAPI bool) (pathSlot, error) {
	if hasPlace(target.Inject, realm.PlacePath) {
		if raw := out.url.EscapedPath(); raw != "" && raw[0] != '/' { // "%2Fx" would go on in the token's segment
			return pathSlot{}, errRequestTarget
		}
		if mayLeadElsewhere(out.url.Path) {
			return pathSlot{}, errDotSegments
		}
	}
	return cutDummy(target, &out.url, useAPI), nil
}

// cutDummy cuts the dummy out of the path, if there is one, and puts the base
// path in front.
func cutDummy(target *realm.Target, u *url.URL, useAPI bool) pathSlot {
	slot := pathSlot{place: -1}
	for i, p := range target.Inject {
		if p.In != realm.PlacePath {
			continue
		}
		if slot.place < 0 {
			slot.place, slot.text = i, p.Pair // without a dummy: in front of the path
		}
		if raw := u.EscapedPath(); p.Pair != "/" && strings.HasPrefix(raw, p.Pair) {
			slot.place = i
			slot.at, slot.text = cutSegment(u, raw, p.Pair)
			break
		}
	}
	if useAPI {
		if slot.place >= 0 {
			slot.base = strings.TrimSuffix(target.API.EscapedPath(), "/")
			slot.at += len(slot.base)
		}
		joinPath(target.API, u)
	}
	return slot
}

// cutSegment cuts the segment that pair ends in out of the path. It returns where
// that began, and how the segment in its place begins.
func cutSegment(u *url.URL, raw, pair string) (at int, text string) {
	at = strings.LastIndexByte(pair, '/')
	end := len(raw)
	if i := strings.IndexByte(raw[len(pair):], '/'); i >= 0 {
		end = len(pair) + i
	}
	setPath(u, raw[:at]+raw[end:])
	return at, pair[at:]
}

// setPath sets an escaped path. It came from url.URL.EscapedPath, in parts, so
// that it can be unescaped, and is sent as it is.
func setPath(u *url.URL, raw string) {
	path, err := url.PathUnescape(raw)
	if err != nil {
		path, raw = raw, ""
	}
	u.Path, u.RawPath = path, raw
}

// placeInPath puts the token into its segment.
func (out *outgoing) placeInPath(lease *realm.Lease, slot pathSlot) {
	if slot.place < 0 {
		return
	}
	raw := out.url.EscapedPath()
	if slot.at > len(raw) { // hasPath refuses it
		return
	}
	setPath(&out.url, raw[:slot.at]+slot.text+lease.Values[slot.place]+raw[slot.at:])
}

// hasPath reports whether the path begins with the base path, the words of the
// entry and the value, and the value ends with its segment.
func (out *outgoing) hasPath(lease *realm.Lease, slot pathSlot) bool {
	if slot.place < 0 {
		return true
	}
	p := lease.Target.Inject[slot.place]
	rest, ok := strings.CutPrefix(out.url.EscapedPath(), slot.base+p.Pair+lease.Values[slot.place])
	return ok && (rest == "" || rest[0] == '/')
}

// otherWritings are of characters that lead elsewhere, for some server: the
// separator of Windows, and overlong UTF-8.
var otherWritings = strings.NewReplacer(`\`, "/", "\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", "/")

// mayLeadElsewhere reports whether some server may find a dot segment in a path,
// which is decoded once already: decoded again, behind another separator, or with
// something behind the dots that it drops (";x" of servlets, blanks, a NUL).
func mayLeadElsewhere(path string) bool {
	for range maxNested {
		for segment := range strings.SplitSeq(otherWritings.Replace(path), "/") {
			if end := strings.IndexFunc(segment, func(r rune) bool { return r == ';' || unicode.IsControl(r) }); end >= 0 {
				segment = segment[:end]
			}
			if segment = strings.TrimSpace(segment); segment == "." || segment == ".." {
				return true
			}
		}
		decoded := string(withoutEscapes([]byte(path), percentEscapes))
		if decoded == path {
			break
		}
		path = decoded
	}
	return false
}
