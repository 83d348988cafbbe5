package inject

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// answering is a base transport that gives one answer after another.
type answering struct{ next *http.Response }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) { return a.next, nil }

// Answers share the space that they are looked at in. Each has its own bytes to its
// end nevertheless, in whatever order and pieces they are read, and whether or not
// their length is announced; those that are closed early give nothing back.
func TestAnswersKeepTheirBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := apiLease(inQuery)
		l.Target.Dead = ruleOf(t, onBody)
		var base answering
		type reading struct {
			body io.ReadCloser
			want string
		}
		var open []reading
		for i := range 40 {
			if len(open) == 0 || rapid.Bool().Draw(t, "another") {
				length := rapid.SampledFrom([]int{1, 500, firstBuffer - 30, firstBuffer, firstBuffer + 1, 30_000, maxPeek, maxPeek + 1}).Draw(t, "length")
				text := `{"n":"` + strings.Repeat(fmt.Sprintf("%04d", i), length/4) + `"}`
				base.next = &http.Response{
					StatusCode: http.StatusOK, ProtoMajor: 1, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
				}
				if rapid.Bool().Draw(t, "chunked") {
					base.next.ContentLength = -1
				}
				resp, err := over(base, Job{Lease: l, Dial: "api.example.com:443"}).RoundTrip(get("/")) //nolint:bodyclose // below
				noError(t, err)
				open = append(open, reading{resp.Body, text})
				continue
			}
			at := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			r := &open[at]
			piece := make([]byte, rapid.SampledFrom([]int{1, 1000, 100_000}).Draw(t, "piece"))
			n, err := io.ReadFull(r.body, piece)
			equal(t, r.want[:n], string(piece[:n]), "a piece")
			if r.want = r.want[n:]; err != nil || rapid.Float64Range(0, 1).Draw(t, "close") < 0.1 {
				equal(t, err == nil || r.want == "", true, "the end")
				noError(t, r.body.Close())
				open = append(open[:at], open[at+1:]...)
			}
		}
	})
}
