package inject

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// fixed is a base transport that answers the same response every time, and
// allocates nothing.
type fixed struct{ resp *http.Response }

func (f fixed) RoundTrip(*http.Request) (*http.Response, error) { return f.resp, nil }

// typical is a request as reverse_proxy hands it over, with so many header
// fields besides those that are removed.
func typical(fields int) *http.Request {
	req := get("/cgi-bin/menu/get?lang=zh_CN&page=2&filter=a%20b")
	req.Header = http.Header{
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"proxy"}, "Via": {"1.1 Caddy"},
	}
	for i := range fields {
		req.Header[fmt.Sprintf("X-Field-%d", i)] = []string{"value"}
	}
	return req
}

func typicalAnswer() fixed {
	return fixed{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {"894"}, "Date": {"Sun, 22 Nov 2026 10:00:00 GMT"},
		"Server": {"provider"}, "X-Request-Id": {"f5b1c1de-9b8e-4ac1-8f8f-0c8a3e5c7a55"},
	}}}
}

// What the answer says where somebody reads it.
var (
	kilobyte       = people(31)
	sixtyKilobytes = people(1930)
)

func people(n int) []byte {
	return []byte(`{"errcode":0,"errmsg":"ok","data":[` + strings.Repeat(`{"id":12345,"name":"somebody"},`, n) + `{}]}`)
}

// memory is a body that can be read again without an allocation.
type memory struct{ bytes.Reader }

func (*memory) Close() error { return nil }

// refill makes the answer anew, with a body.
func (f fixed) refill(answer []byte) {
	body, ok := f.resp.Body.(*memory)
	if !ok {
		if inner, peeked := f.resp.Body.(*peeked); peeked {
			body = inner.ReadCloser.(*memory)
		} else {
			body = new(memory)
		}
	}
	body.Reset(answer)
	f.resp.Body, f.resp.ContentLength, f.resp.ProtoMajor = body, int64(len(answer)), 1
	delete(f.resp.Header, "Cache-Control")
}

// The exact price of an injection. What is measured is the whole round
// trip over a base that allocates nothing.
func TestAllocations(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lease  *realm.Lease
		useAPI bool
		fields int
		most   float64
	}{
		{"query", apiLease(inQuery), false, 12, 2},
		{"query at api with a base path", apiLease(inQuery), true, 12, 3},
		{"query, two pairs", apiLease(inQuery, realm.Place{In: realm.PlaceURL, Name: "sign", Pair: "sign="}), false, 12, 2},
		{"header, 7 fields", apiLease(inHeader), false, 7, 3},
		{"header, 8 fields", apiLease(inHeader), false, 8, 5},
		{"header, 30 fields", apiLease(inHeader), false, 30, 5},
		{"both", apiLease(inQuery, inHeader), false, 6, 4},
	} {
		base := typicalAnswer()
		tt.lease.Target.API = mustURL(t, "https://api.example.com/v1")
		transport := over(base, Job{Lease: tt.lease, Dial: "api.example.com:443", UseAPI: tt.useAPI})
		req := typical(tt.fields)
		got := testing.AllocsPerRun(100, func() {
			_, err := transport.RoundTrip(req) //nolint:bodyclose // http.NoBody
			noError(t, err)
			delete(base.resp.Header, "Cache-Control")
		})
		equal(t, tt.most, got, tt.name)
	}
}

// What a rule costs where it need not look into the body, and where it does: the
// reader of what was looked at, however much that is. Its space is of the answer
// before, which was read to its end.
func TestAllocationsOfRules(t *testing.T) {
	for renewOn, most := range map[string]float64{onStatus: 2, onGRPC: 2, onBody: 3} {
		for _, answer := range [...][]byte{kilobyte, sixtyKilobytes} {
			l := apiLease(inQuery)
			l.Target.Dead = ruleOf(t, renewOn)
			base := typicalAnswer()
			transport := over(base, Job{Lease: l, Dial: "api.example.com:443"})
			req := typical(12)
			got := math.Inf(1)
			for range 50 { // the least counts: the race detector makes pools lose some
				got = min(got, testing.AllocsPerRun(1, func() {
					base.refill(answer)
					resp, err := transport.RoundTrip(req) //nolint:bodyclose // it is in memory
					noError(t, err)
					if n, err := io.Copy(io.Discard, resp.Body); n != int64(len(answer)) {
						t.Errorf("read %d bytes, %v", n, err)
					}
				}))
			}
			if got > most {
				t.Errorf("%s, %d bytes: %v allocations, at most %v", renewOn, len(answer), got, most)
			}
		}
	}
}

// A rule costs a stream nothing: it is not looked into.
func TestAllocationsOfStreams(t *testing.T) {
	allocations := func(renewOn string) float64 {
		roundTrip := overStream(t, renewOn)
		return testing.AllocsPerRun(100, func() { noError(t, roundTrip()) })
	}
	equal(t, allocations(""), allocations(onBody), "with a rule")
}

// overStream is a round trip whose answer is a stream of events.
func overStream(tb testing.TB, renewOn string) func() error {
	tb.Helper()
	l := apiLease(inQuery)
	if renewOn != "" {
		l.Target.Dead = ruleOf(tb, renewOn)
	}
	base := typicalAnswer()
	base.resp.Header["Content-Type"] = []string{"text/event-stream"}
	transport := over(base, Job{Lease: l, Dial: "api.example.com:443"})
	req := typical(8)
	return func() error {
		base.refill(kilobyte)
		base.resp.ContentLength = -1
		_, err := transport.RoundTrip(req) //nolint:bodyclose // it is in memory
		return err
	}
}

// The memory of a body that streams does not depend on how long it is.
func TestAllocationsOfBodies(t *testing.T) {
	for media, begin := range map[string]string{formType: "a=", "application/json": `{"a":"`} {
		var got [2]float64
		for i, size := range [...]int{2 << 20, 8 << 20} {
			body := begin + strings.Repeat("x", size)
			got[i] = testing.AllocsPerRun(3, func() {
				out := &outgoing{Request: http.Request{
					Method: http.MethodPost, Header: http.Header{"Content-Type": {media}},
					Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
				}}
				noError(t, out.placeBody(bodyLease("token")))
				n, _ := io.Copy(io.Discard, out.Body) // the document has no end
				if n < int64(size) {
					t.Errorf("%s: %d bytes", media, n)
				}
			})
		}
		if got[1] > 2*got[0] { // four times as long; a few are of pools that the collector empties
			t.Errorf("%s: %v allocations", media, got)
		}
	}
}

func benchmark(b *testing.B, transport http.RoundTripper) {
	req := typical(8)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transport.RoundTrip(req); err != nil { //nolint:bodyclose // http.NoBody
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTripNone is the base alone: what the others are compared to.
func BenchmarkRoundTripNone(b *testing.B) { benchmark(b, typicalAnswer()) }

func BenchmarkRoundTripQuery(b *testing.B) {
	benchmark(b, over(typicalAnswer(), Job{Lease: apiLease(inQuery), Dial: "api.example.com:443"}))
}

func BenchmarkRoundTripHeader(b *testing.B) {
	benchmark(b, over(typicalAnswer(), Job{Lease: apiLease(inHeader), Dial: "api.example.com:443"}))
}

// BenchmarkRoundTripRule looks into an answer of 1 KB, BenchmarkRoundTripLongRule into
// one of 60 KB; the others are the same without a rule.
func BenchmarkRoundTripRule(b *testing.B)       { benchmarkRule(b, onBody, kilobyte) }
func BenchmarkRoundTripNoRule(b *testing.B)     { benchmarkRule(b, "", kilobyte) }
func BenchmarkRoundTripLongRule(b *testing.B)   { benchmarkRule(b, onBody, sixtyKilobytes) }
func BenchmarkRoundTripLongNoRule(b *testing.B) { benchmarkRule(b, "", sixtyKilobytes) }

func benchmarkRule(b *testing.B, renewOn string, answer []byte) {
	l := apiLease(inQuery)
	if renewOn != "" {
		l.Target.Dead = ruleOf(b, renewOn)
	}
	base := typicalAnswer()
	transport := over(base, Job{Lease: l, Dial: "api.example.com:443"})
	req := typical(8)
	b.ReportAllocs()
	for b.Loop() {
		base.refill(answer)
		resp, err := transport.RoundTrip(req) //nolint:bodyclose // it is in memory
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTripStreamRule is a stream where there is a rule;
// BenchmarkRoundTripStreamNoRule is the same without one.
func BenchmarkRoundTripStreamRule(b *testing.B)   { benchmarkStream(b, onBody) }
func BenchmarkRoundTripStreamNoRule(b *testing.B) { benchmarkStream(b, "") }

func benchmarkStream(b *testing.B, renewOn string) {
	roundTrip := overStream(b, renewOn)
	b.ReportAllocs()
	for b.Loop() {
		if err := roundTrip(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTripQueryCopies has a copy of the caller's to remove.
func BenchmarkRoundTripQueryCopies(b *testing.B) {
	transport := over(typicalAnswer(), Job{Lease: apiLease(inQuery), Dial: "api.example.com:443"})
	req := typical(8)
	req.URL.RawQuery = "a=1&ACCESS%5FTOKEN=evil;b=2&access_token[]=evil"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transport.RoundTrip(req); err != nil { //nolint:bodyclose // http.NoBody
			b.Fatal(err)
		}
	}
}
