package inject

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// sender is a Sender that is asked about each request.
type sender struct {
	seen []string
	err  error
}

func (s *sender) MaySend(ref realm.Ref, out *http.Request) error {
	s.seen = append(s.seen, ref.String()+" "+out.Method+" "+out.URL.EscapedPath())
	return s.err
}

// TestSenderHasTheLastWord: who sends is asked about the path as it goes out, with
// the base path of the api.
func TestSenderHasTheLastWord(t *testing.T) {
	l := apiLease(inQuery)
	l.Target.API = &url.URL{Scheme: "https", Host: "api.example.com", Path: "/base/"}
	s := &sender{}
	job := Job{Ref: realm.Ref{Realm: "r", Key: "k"}, Lease: l, Dial: "api.example.com:443", UseAPI: true, Sender: s}
	out, got := sendJob(t, job, get("/a%2Fb?x=1"))
	if got.status != http.StatusOK || out.URL.EscapedPath() != "/base/a%2Fb" {
		t.Errorf("%d %v", got.status, out.URL)
	}
	equal(t, []string{"r/k GET /base/a%2Fb"}, s.seen, "what was asked")
	s.err = &realm.Error{Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "no"}
	if out, got = sendJob(t, job, get("/a")); out != nil || got.status != http.StatusForbidden {
		t.Errorf("%d, sent %v", got.status, out)
	}
}

// TestEnded: the end of each request that had a token is told, with what the
// caller gets.
func TestEnded(t *testing.T) {
	l := apiLease(inQuery)
	var told []int
	ended := func(_ Job, resp *http.Response, err error) {
		if err != nil {
			told = append(told, 0)
			return
		}
		told = append(told, resp.StatusCode)
	}
	away := errors.New("away")
	for _, base := range []http.RoundTripper{
		&recorder{header: http.Header{}}, roundTripper(func(*http.Request) (*http.Response, error) { return nil, away }),
	} {
		transport := over(base, Job{Lease: l, Dial: "api.example.com:443"})
		transport.Ended = ended
		resp, err := transport.RoundTrip(get("/"))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	other := over(&recorder{}, Job{Lease: l, Dial: "evil.example.com:443"})
	other.Ended = ended
	resp, err := other.RoundTrip(get("/"))
	noError(t, err)
	_ = resp.Body.Close()
	equal(t, []int{http.StatusOK, 0, http.StatusBadGateway}, told, "what was told")
}
