package problem

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestFrom: an error that has a meaning for the caller says it, whatever its
// cause was. A provider that is down was once told as a wrong field of the
// request, because a FieldError was somewhere below.
func TestFrom(t *testing.T) {
	cause := realm.Fieldf("fields.shop", "is wrong")
	for name, c := range map[string]struct {
		err  error
		want Document
	}{
		"a field": {
			fmt.Errorf("saving: %w", cause),
			Document{Status: 400, Code: realm.CodeInvalidField, Detail: "fields.shop: is wrong", Field: "fields.shop"},
		},
		"an error because of a field": {
			fmt.Errorf("token: %w", &realm.Error{Code: realm.CodeTokenUnavailable, Status: 502, Detail: "no token", ProviderCode: "7", Err: cause}),
			Document{Status: 502, Code: realm.CodeTokenUnavailable, Detail: "no token", ProviderCode: "7"},
		},
		"an error about a field": {
			&realm.Error{Code: realm.CodeInvalidField, Status: 409, Detail: "does not fit", Err: fmt.Errorf("binding: %w", cause)},
			Document{Status: 409, Code: realm.CodeInvalidField, Detail: "does not fit", Field: "fields.shop"},
		},
		"an error about a field without one": {
			&realm.Error{Code: realm.CodeInvalidField, Status: 400, Detail: "no such place"},
			Document{Status: 400, Code: realm.CodeInvalidField, Detail: "no such place"},
		},
		"anything else": {
			errors.New("disk on fire"),
			Document{Status: http.StatusInternalServerError, Code: realm.CodeInternal, Detail: "internal error; the log says more"},
		},
	} {
		if diff := cmp.Diff(c.want, From(c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSecurityHeadersAreOfOneAnswer: Caddy's directive header changes values in
// place, and adds some. Neither reaches another header or another answer.
func TestSecurityHeadersAreOfOneAnswer(t *testing.T) {
	want, changed := http.Header{}, http.Header{}
	SetSecurityHeaders(want)
	SetSecurityHeaders(changed)
	changed["Cache-Control"][0] = "changed"
	changed.Add("Referrer-Policy", "added")
	if got := changed.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("what was added stands in another header: %s", got)
	}
	next := http.Header{}
	SetSecurityHeaders(next)
	if diff := cmp.Diff(want, next); diff != "" {
		t.Error(diff)
	}
	for name, values := range next {
		if len(values) != 1 || http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s: %q", name, values)
		}
	}
}
