package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Site is where a caller reaches the API through this proxy.
type Site struct {
	// Origin is the scheme and the authority that the caller used, as in
	// "https://proxy.example.com:8443".
	Origin string
	// Path is the beginning of the path that the caller sent, escaped, in place of
	// which the API gets APIPath, behind its base. What follows is the same for both.
	// Neither ends with a slash.
	Path, APIPath string
}

// linker makes links to the API ones that lead through the proxy.
type linker struct {
	site Site
	// scheme and hosts are those of the API, base is the beginning of its paths.
	scheme string
	hosts  [2]string
	base   string
	tokens sentTokens
}

// rewriteLinks makes the links in an answer's header lead through the proxy, where the
// realm wants that and it is known how the caller reached it.
func (out *outgoing) rewriteLinks(h http.Header, job Job, tokens sentTokens) {
	target := tokens[0].Target
	if !target.RewriteLinks || job.Site == nil {
		return
	}
	l := linker{
		site: *job.Site, scheme: out.url.Scheme, hosts: [2]string{out.url.Host, out.Host},
		base: job.Site.APIPath, tokens: tokens,
	}
	if job.UseAPI {
		l.base = strings.TrimSuffix(target.API.EscapedPath(), "/") + l.base
	}
	for i, location := range h["Location"] {
		h["Location"][i] = l.rewrite(location)
	}
	for i, links := range h["Link"] {
		h["Link"][i] = l.rewriteField(links)
	}
}

// rewriteField rewrites the links in a Link field, which may have several (RFC 8288
// section 3). Their parameters stay as they are, also one that quotes a URL.
func (l *linker) rewriteField(field string) string {
	var b strings.Builder
	for rest := field; ; {
		begin := len(rest) - len(strings.TrimLeft(rest, ", \t"))
		b.WriteString(rest[:begin])
		rest = rest[begin:]
		link, behind, ok := strings.Cut(rest, ">")
		if !ok || rest[0] != '<' {
			b.WriteString(rest) // the end, or what cannot be read as a link
			return b.String()
		}
		end := endOfParameters(behind)
		b.WriteString("<" + l.rewrite(link[1:]) + ">" + behind[:end])
		rest = behind[end:]
	}
}

// endOfParameters is where the parameters of a link end: at a comma that is not quoted.
func endOfParameters(text string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return i
		}
	}
	return len(text)
}

// rewrite returns the link that leads to the same place through the proxy. One that
// leads elsewhere stays as it is: to another host, which this proxy does not reach,
// or to a path that is not behind the API's base. A relative link without a leading
// slash leads through the proxy already.
func (l *linker) rewrite(link string) string {
	origin, rest := splitOrigin(link)
	if origin != "" && !l.isOwn(origin) {
		return link
	}
	path, query, fragment := splitReference(rest)
	if origin == "" && !strings.HasPrefix(path, "/") {
		return path + l.withoutToken(query) + fragment
	}
	behind, ok := strings.CutPrefix(path, l.base)
	if !ok || behind != "" && behind[0] != '/' {
		return link
	}
	path = l.site.Path + l.withoutSegment(behind)
	switch {
	case origin != "" || mayNameHost(path):
		path = l.site.Origin + path
	case path == "":
		path = "/"
	}
	return path + l.withoutToken(query) + fragment
}

// mayNameHost reports whether a path that stands at the beginning of a link would be
// read as the name of a host: browsers take a backslash for a slash, and drop tabs and
// line breaks (https://url.spec.whatwg.org/#concept-basic-url-parser).
func mayNameHost(path string) bool {
	return len(path) > 1 && strings.IndexByte("/\\\t\n\r", path[1]) >= 0
}

// splitOrigin cuts the scheme and the authority off a link. A relative one has none.
func splitOrigin(link string) (origin, rest string) {
	at := strings.Index(link, "//")
	if at < 0 || at > 0 && link[at-1] != ':' || strings.ContainsAny(link[:at], "/?#") {
		return "", link
	}
	end := strings.IndexAny(link[at+2:], "/?#")
	if end < 0 {
		return link, ""
	}
	return link[:at+2+end], link[at+2+end:]
}

// splitReference splits what stands behind the authority; the query and the fragment
// keep the character that they begin with.
func splitReference(rest string) (path, query, fragment string) {
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest, fragment = rest[:i], rest[i:]
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, query = rest[:i], rest[i:]
	}
	return rest, query, fragment
}

// isOwn reports whether an origin is that of the API to which the request was sent. One
// without a scheme has that of the request.
func (l *linker) isOwn(origin string) bool {
	scheme, authority, _ := strings.Cut(origin, "//")
	if scheme != "" && !strings.EqualFold(scheme, l.scheme+":") {
		return false
	}
	authority = withoutDefaultPort(authority, l.scheme)
	for _, host := range l.hosts {
		if host != "" && strings.EqualFold(authority, withoutDefaultPort(host, l.scheme)) {
			return true
		}
	}
	return false
}

// withoutSegment cuts the segment off that is the token alone: the proxy always puts
// another one in front. Behind words ("/bot"), the masked token is a dummy, which the
// proxy replaces.
func (l *linker) withoutSegment(path string) string {
	for _, p := range l.tokens[0].Target.Inject {
		if p.In != realm.PlacePath || p.Pair != "/" || path == "" {
			continue
		}
		segment, rest, isDivided := strings.Cut(path[1:], "/")
		switch {
		case !quotes(segment, l.tokens):
		case isDivided:
			return "/" + rest
		default:
			return ""
		}
	}
	return path
}

// withoutToken removes from a query, which begins with "?", the parameters that carry
// the token: the proxy puts it in when the link is followed. All others stay byte for
// byte.
func (l *linker) withoutToken(query string) string {
	if query == "" {
		return ""
	}
	raw := queryPairs.withoutOurs(query[1:], l.tokens[0].Target.Inject)
	if quotes(raw, l.tokens) {
		var kept []string
		for pair := range strings.SplitSeq(raw, "&") {
			if !quotes(pair, l.tokens) {
				kept = append(kept, pair)
			}
		}
		raw = strings.Join(kept, "&")
	}
	if raw == "" && len(query) > 1 {
		return ""
	}
	return "?" + raw
}
