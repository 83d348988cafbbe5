package adminapi

import (
	"net/http"
	"strings"
	"testing"
)

// part is a field of a multipart form, as RestTemplate of Spring sends it: also
// a number, which makes it choose this type for the whole form.
func part(name, kind, value string) string {
	return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\nContent-Type: " + kind + "\r\n\r\n" + value + "\r\n"
}

func TestMultipartForms(t *testing.T) {
	const end = "--x--\r\n"
	id, three := part("taxpayerId", "text/plain;charset=UTF-8", "9111"), part("timeout", "application/json", "3")
	file := "--x\r\nContent-Disposition: form-data; name=\"taxpayerId\"; filename=\"f\"\r\n\r\n&taxpayerId=9112\r\n"
	for body, want := range map[string]string{ // the key, or the field that is wrong
		id + three + end: "acme", id + end: "acme", three + end: "main", end: "main", "": "main", id + file + end: "acme",
		part("other", "text/plain", "x&taxpayerId=9111") + end: "main",
		id + id + end: "!taxpayerId",
		part("timeout", "text/plain", "61") + end:      "!timeout",
		part("taxpayerId", "text/plain", "\xff") + end: "!taxpayerId",
		id + three: "!", "taxpayerId=9111": "!",
	} {
		p, c := newPuppet(t)
		a := c.send(http.MethodPost, "/jd-account/get-access-token", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=x")
		if field, wrong := strings.CutPrefix(want, "!"); wrong {
			a.wrong(field)
		} else if a.text("at-1"); p.ref.Key != want {
			t.Errorf("%q: %v", body, p.ref)
		}
	}
	_, c := newPuppet(t)
	c.send(http.MethodPost, "/jd-account/get-access-token", strings.NewReader(id+end), "Content-Type", "multipart/form-data").wrong("")
}
