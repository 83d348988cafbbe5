package inject

import (
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// finish makes the answer the caller's. Redirects are among what passes
// unchanged: whoever follows one with a token sends it where the upstream
// wants.
func (out *outgoing) finish(resp *http.Response, req *http.Request, lease *realm.Lease) {
	resp.Request = req
	scrubHeader(resp.Header, lease)
	out.keepPrivate(resp)
}

// keepPrivate adds "Cache-Control: private" to what a shared cache between
// the caller and us might keep. The upstream saw a credential; the cache sees
// a request without one and would miss the rule of RFC 9111 section 3.5.
func (out *outgoing) keepPrivate(resp *http.Response) {
	if out.Method != http.MethodGet && out.Method != http.MethodHead && out.Method != "" {
		return
	}
	for _, name := range [...]string{"Cache-Control", "Expires", "Pragma"} {
		if len(resp.Header[name]) > 0 {
			return
		}
	}
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.Header == nil {
		return
	}
	out.cache[0] = "private"
	resp.Header["Cache-Control"] = out.cache[:]
}
