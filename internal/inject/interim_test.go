package inject

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"
)

// net/http hands interim answers to the proxy in front past this transport, so
// that nobody would scrub them.
func TestInterimAnswersAreDropped(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			for _, status := range []int{http.StatusProcessing, http.StatusEarlyHints} {
				w.Header().Set("Link", "<"+r.URL.String()+">")
				w.WriteHeader(status)
			}
			w.Header().Del("Link")
			w.WriteHeader(http.StatusNoContent)
		}, inQuery)
		var interim []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				interim = append(interim, fmt.Sprint(status, h))
				return nil
			},
		})
		got := p.do(t, p.request(t, http.MethodGet, "/", nil).WithContext(ctx))
		equal(t, http.StatusNoContent, got.status, "status")
		equal(t, nil, interim, "interim answers")
	})
}

// A trace would be shown the header fields that are written, the token among
// them. Everything else of the context is there.
func TestRequestsAreNotTraced(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(string, []string) {}})
	out, _ := send(t, apiLease(inHeader), getWith(ctx, "/"))
	if httptrace.ContextClientTrace(out.Context()) != nil {
		t.Error("the request is traced")
	}
	equal(t, any("value"), out.Context().Value(key{}), "a value of the context")
}
