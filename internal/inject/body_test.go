package inject

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var inBody = realm.Place{In: realm.PlaceBody, Name: "token"}

// bodyPlaces are fields of a body, by name.
func bodyPlaces(names ...string) (places []realm.Place) {
	for _, name := range names {
		places = append(places, realm.Place{In: realm.PlaceBody, Name: name})
	}
	return places
}

// bodyLease is a lease whose token is the text T"1.
func bodyLease(names ...string) *realm.Lease {
	l := apiLease(bodyPlaces(names...)...)
	l.Target.ReplayMax = 1 << 20
	l.Access = `T"1`
	for i := range l.Values {
		l.Values[i] = `T"1`
	}
	return l
}

// edited rewrites a body in pieces of a size.
func edited(edit bodyEdit, body string, size int) (string, error) {
	var out []byte
	var err error
	for len(body) > 0 {
		n := min(size, len(body))
		if out, err = edit.edit(out, []byte(body[:n])); err != nil {
			return "", err
		}
		body = body[n:]
	}
	if out, err = edit.edit(out, nil); err != nil {
		return "", err
	}
	out, err = edit.end(out)
	return string(out), err
}

func TestFormBodies(t *testing.T) {
	for body, want := range map[string]string{
		"":                               "token=T%221",
		"a=1&b=2":                        "token=T%221&a=1&b=2",
		"a=1&token=evil&b=2":             "token=T%221&a=1&b=2",
		"token=evil":                     "token=T%221",
		"token":                          "token=T%221",
		"TOKEN=e&%74oken=e&+token+=e&a":  "token=T%221&a",
		"token[]=e&token[0]=e&a=token":   "token=T%221&a=token",
		"tokens=1&atoken=2&a=b&=c":       "token=T%221&tokens=1&atoken=2&a=b&=c",
		"a=1&&b=%zz&c=+%2B&":             "token=T%221&a=1&&b=%zz&c=+%2B&",
		"a=x;token=e;b=2":                "token=T%221&a=x;b=2",
		"a=x;token=e&b=2":                "token=T%221&a=x&b=2",
		"token=a=b&c":                    "token=T%221&c",
		"a=\xff\x00%00&b=é":              "token=T%221&a=\xff\x00%00&b=é",
		"\r\n":                           "token=T%221&\r\n",
		"a=" + strings.Repeat("x", 9000): "token=T%221&a=" + strings.Repeat("x", 9000),
	} {
		for _, size := range []int{1, 2, 7, len(body) + 1} {
			got, err := edited(newFormBody(bodyLease("token")), body, size)
			noError(t, err)
			equal(t, want, got, body)
		}
	}
	got, err := edited(newFormBody(bodyLease("auth.token", "a b")), "a+b=1&auth.token=2&auth_token=3&c", 1)
	noError(t, err)
	equal(t, "auth.token=T%221&a+b=T%221&c", got, "two fields")
	if _, err := edited(newFormBody(bodyLease("token")), strings.Repeat("x", maxHeldName+1), 100); err == nil {
		t.Error("a name without an end was held")
	}
}

func TestJSONBodies(t *testing.T) {
	const ours = `"token":"T\"1"`
	for body, want := range map[string]string{
		`{}`:      `{` + ours + `}`,
		" { \n} ": ` {` + ours + " \n} ",
		`{"a":1}`: `{` + ours + `,"a":1}`,
		`{ "a" : [1, {"token":2}] , "b":{"token":3} }`: `{` + ours + `, "a" : [1, {"token":2}] , "b":{"token":3} }`,
		`{"token":"evil"}`:                                                `{` + ours + `}`,
		`{"token":{"a":[1,{"b":"}"}]},"b":1}`:                             `{` + ours + `,"b":1}`,
		`{"a":1,"token":1 ,"b":2,"token":[]}`:                             `{` + ours + `,"a":1,"b":2}`,
		`{"\u0074oken":1,"TOKEN":2,"to\u212aen":3}`:                       `{` + ours + `}`,
		`{"token\u0000x":1,"token ":2,"tokens":3}`:                        `{` + ours + `,"token ":2,"tokens":3}`,
		`{"a":-0.10e+5,"b":true,"c":null,"d":"\"\\\u00e9é","e":[],"f":0}`: `{` + ours + `,"a":-0.10e+5,"b":true,"c":null,"d":"\"\\\u00e9é","e":[],"f":0}`,
		byteOrderMark + `{"":1}`:                                          byteOrderMark + `{` + ours + `,"":1}`,
	} {
		for _, size := range []int{1, 3, len(body)} {
			got, err := edited(newJSONBody(bodyLease("token"), false), body, size)
			noError(t, err)
			equal(t, want, got, body)
		}
	}
}

// Dots lead into objects: those that are there are kept, others are made.
func TestJSONBodiesNested(t *testing.T) {
	const inner = `{"token":"T\"1"}`
	for body, want := range map[string]string{
		`{}`:          `{"auth":` + inner + `}`,
		`{"a":1}`:     `{"a":1,"auth":` + inner + `}`,
		`{"auth":{}}`: `{"auth":` + inner + `}`,
		`{"auth": {"token":"evil", "x":1},"token":"mine"}`: `{"auth": {"token":"T\"1", "x":1},"token":"mine"}`,
		`{"a":{"auth":{"token":1}},"\u0061uth":{}}`:        `{"a":{"auth":{"token":1}},"\u0061uth":` + inner + `}`,
	} {
		got, err := edited(newJSONBody(bodyLease("auth.token"), false), body, 1)
		noError(t, err)
		equal(t, want, got, body)
	}
	for _, body := range []string{`{"auth":1}`, `{"auth":null}`, `{"auth":[{}]}`, `{"auth":"x"}`, `{"auth":{},"auth":{}}`, `{"Auth":{}}`} {
		if got, err := edited(newJSONBody(bodyLease("auth.token"), false), body, 1); !errors.Is(err, errJSONObject) {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	got, err := edited(newJSONBody(bodyLease("a.b.c", "a.d", "e"), false), `{"a":{"d":1,"x":2},"y":3}`, 1)
	noError(t, err)
	equal(t, `{"e":"T\"1","a":{"d":"T\"1","x":2,"b":{"c":"T\"1"}},"y":3}`, got, "three fields")
}

// What is no JSON object is refused, so that nobody reads the token in another
// place than the realm means.
func TestJSONBodiesRefused(t *testing.T) {
	deep := strings.Repeat("[", maxJSONDepth)
	for _, body := range []string{
		"", " ", "[]", `"a"`, "1", "null", `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`, `{"a":1}}`, `{"a":1}{`,
		`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":+1}`, `{"a":.5}`, `{"a":-a}`, `{"a":0x1}`, `{"a":tru}`, `{"a":True}`, `{"a":nulll}`, `{"a":NaN}`,
		`{"a":[1,]}`, `{"a":[}`, `{"a":{]}`, `{"a":[1}`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, "{\"a\":\"\xff\"}", "{\"tok\xffen\":1}", "{\"a\":\"\xc3\"}", "{\"a\":\"\xed\xa0\x80\"}",
		"\xef\xbb{}", "\xef\xbb\xbf\xef\xbb\xbf{}", " \xef\xbb\xbf", "\xef\xbb \xbf{}", "\n\xef\xbb\xbf{}", "\xef \xbb\xbf{}", "\xff\xfe{\x00}\x00", "{\x00}\x00", "/**/{}", `{"a":1}//`,
		`{"a":` + deep + strings.Repeat("]", maxJSONDepth) + `}`, `{"` + strings.Repeat("x", maxHeldName) + `":1}`, "{" + strings.Repeat(" ", maxHeldName+1) + "}",
	} {
		for _, size := range []int{1, len(body) + 1} {
			if got, err := edited(newJSONBody(bodyLease("token"), false), body, size); err == nil {
				t.Errorf("%.60q became %.80q", body, got)
			}
		}
	}
}

// endless is a document without an end.
type endless struct {
	begin, rest string
	n           int
}

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	if e.begin != "" {
		n := copy(p, e.begin)
		e.begin = e.begin[n:]
		return n, nil
	}
	for i := range p {
		p[i] = e.rest[i%len(e.rest)]
	}
	return len(p), nil
}

// A body without an end takes no memory: it is refused, or streams.
func TestBodiesWithoutAnEnd(t *testing.T) {
	for _, tt := range []struct {
		mediaType, begin, rest string
		streams                bool
	}{
		{"application/json", `{"a":`, `[`, false},
		{"application/json", `{`, ` `, false},
		{"application/json", `{"`, `x`, false},
		{"application/json", `{"a":"`, `x`, true},
		{"application/json", `{"token":"`, `x`, true}, // all of it is left out
		{formType, ``, `x`, false},
		{formType, `a=`, `x`, true},
	} {
		source := &endless{begin: tt.begin, rest: tt.rest}
		out := new(outgoing)
		out.Method, out.ContentLength, out.Header = http.MethodPost, -1, http.Header{"Content-Type": {tt.mediaType}}
		out.Body = io.NopCloser(io.LimitReader(source, 100<<20))
		l := bodyLease("token")
		err := out.placeBody(l)
		if !tt.streams {
			if err == nil {
				t.Errorf("%s %s: streams", tt.mediaType, tt.begin)
			}
			continue
		}
		noError(t, err)
		equal(t, int64(-1), out.ContentLength, tt.begin)
		if b := out.Body.(*injectedBody); cap(b.ready) > 4<<20 || source.n > 2<<20 {
			t.Errorf("%s: %d bytes were read, and %d kept", tt.begin, source.n, cap(b.ready))
		}
	}
}

// sent is a request with a body as it goes out.
type sentBody struct {
	status int
	length int64
	body   string
	header http.Header
}

func sendBody(t *testing.T, l *realm.Lease, method, mediaType, body string, length int64) sentBody {
	t.Helper()
	req := get("/x")
	req.Method, req.Header = method, http.Header{}
	if mediaType != "" {
		req.Header["Content-Type"] = []string{mediaType}
	}
	if body != "" || length != 0 {
		req.Body, req.ContentLength = io.NopCloser(iotest.OneByteReader(strings.NewReader(body))), length
	}
	var got sentBody
	resp, err := over(roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			content, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			got.body = string(content)
		}
		got.length, got.header = r.ContentLength, r.Header
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
	}), Job{Lease: l, Dial: "api.example.com:443"}).RoundTrip(req)
	noError(t, err)
	got.status = read(t, resp).status
	return got
}

func TestBodiesOfRequests(t *testing.T) {
	const form, document = "token=T%221", `{"token":"T\"1"}`
	for _, tt := range []struct {
		method, mediaType, body string
		status                  int
		want, wantType          string
	}{
		{"POST", formType, "a=1", 200, form + "&a=1", formType},
		{"POST", "Application/X-WWW-Form-URLencoded; charset=GBK", "", 200, form, "Application/X-WWW-Form-URLencoded; charset=GBK"},
		{"PUT", "", "", 200, form, formType},
		{"PATCH", "application/merge-patch+json", "", 200, document, "application/merge-patch+json"},
		{"POST", `application/json; charset="UTF-8"`, "{}", 200, document, `application/json; charset="UTF-8"`},
		{"DELETE", "application/json", "{}", 200, document, "application/json"},
		{"GET", "", "", 200, "", ""},
		{"DELETE", "", "", 200, "", ""},
		{"HEAD", "text/plain", "", 200, "", "text/plain"},
		{"POST", "multipart/form-data; boundary=x", "--x--\r\n", 200, "--x--\r\n", "multipart/form-data; boundary=x"},
		{"POST", "application/json; charset=gbk", "{}", 415, "", ""},
		{"POST", "application/json; charset=utf-16", "{}", 415, "", ""},
		{"POST", "text/plain", "{}", 415, "", ""},
		{"POST", "application/x-ndjson", "{}", 415, "", ""},
		{"POST", "", "a=1", 415, "", ""},
		{"POST", "application/json", "{", 400, "", ""},
		{"POST", "application/json", "[]", 400, "", ""},
	} {
		name := tt.method + " " + tt.mediaType + " " + tt.body
		lengths := []int64{int64(len(tt.body))}
		if tt.body != "" {
			lengths = append(lengths, -1)
		}
		for _, length := range lengths {
			got := sendBody(t, bodyLease("token"), tt.method, tt.mediaType, tt.body, length)
			equal(t, tt.status, got.status, name)
			equal(t, tt.want, got.body, name)
			equal(t, tt.wantType, got.header.Get("Content-Type"), name)
			if tt.status == 200 && !strings.HasPrefix(tt.mediaType, "multipart/") {
				equal(t, int64(len(tt.want)), got.length, name)
			}
		}
	}
	// An empty body of unknown length is none.
	equal(t, form, sendBody(t, bodyLease("token"), "POST", "", "", -1).body, "empty, of unknown length")
	equal(t, "", sendBody(t, bodyLease("token"), "GET", "", "", -1).body, "empty, of unknown length")
}

// What is known about the old body goes.
func TestBodyHeaders(t *testing.T) {
	header := func(coding, mediaType string) (http.Header, int) {
		req := get("/?token=evil&a=1")
		req.Method, req.ContentLength, req.Body = "POST", 3, io.NopCloser(strings.NewReader("a=1"))
		req.Header = http.Header{
			"Content-Type": {mediaType}, "Content-Length": {"3"}, "Content-Md5": {"x"}, "Digest": {"x"}, "Content-Digest": {"x"}, "Token": {"evil"}, "X-Other": {"1"},
		}
		if coding != "" {
			req.Header["Content-Encoding"] = []string{coding}
		}
		before := req.Header.Clone()
		out, a := send(t, bodyLease("token"), req)
		equal(t, before, req.Header, "the request that is logged")
		if out == nil {
			return nil, a.status
		}
		equal(t, "a=1", out.URL.RawQuery, "query")
		return out.Header, a.status
	}
	h, _ := header("identity", formType)
	equal(t, http.Header{"Content-Type": {formType}, "X-Other": {"1"}, "Content-Encoding": {"identity"}}, h, "form")
	h, _ = header("", "multipart/form-data")
	equal(t, "x", h.Get("Content-MD5"), "multipart")
	for _, coding := range []string{"gzip", "br", "identity, gzip", "x"} {
		h, status := header(coding, formType)
		if h != nil || status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d", coding, status)
		}
	}
}

// Through real connections: small bodies have a length, large ones stream, and a
// large one that is malformed breaks off, with a refusal for the caller.
func TestBodiesOverConnections(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		got := make(chan sentBody, 1)
		p := serve(t, h2, func(_ http.ResponseWriter, r *http.Request) {
			content, err := io.ReadAll(r.Body)
			s := sentBody{length: r.ContentLength, body: string(content)}
			if err != nil {
				s.status = -1
			}
			got <- s
		}, inBody)
		p.lease.Target.ReplayMax = 1000
		want := `{"token":` + strconv.Quote(token)
		for n, length := range map[int]int64{10: 0, 100_000: -1} {
			body := `"a":"` + strings.Repeat("x", n) + `"}`
			req := p.request(t, "POST", "/", strings.NewReader("{"+body))
			req.Header.Set("Content-Type", "application/json")
			equal(t, http.StatusOK, p.do(t, req).status, "status")
			s := <-got
			if length == 0 {
				length = int64(len(want + "," + body))
			}
			equal(t, length, s.length, "length")
			equal(t, want+","+body, s.body, "body")
		}
		req := p.request(t, "POST", "/", strings.NewReader(`{"a":"`+strings.Repeat("x", 1_000_000)+`"]`))
		req.Header.Set("Content-Type", "application/json")
		a := p.do(t, req)
		equal(t, http.StatusBadRequest, a.status, "malformed at its end: "+a.body)
		equal(t, -1, (<-got).status, "malformed at its end")
	}
}

// A trailer needs a body without a length. One that is a digest of the caller's body
// is not that of ours, whether the body streams or not.
func TestBodiesWithTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	p := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		trailer := http.Header{"Body": {strings.TrimRight(string(content), "x")}}
		maps.Copy(trailer, r.Trailer)
		got <- trailer
	}, inBody)
	for _, size := range []int{0, 2 << 20} {
		for _, announced := range []http.Header{
			{"X-Sum": {"1"}}, {"X-Sum": {"1"}, "Digest": {"md5=x"}, "Content-Digest": {"x"}, "Content-Md5": {"x"}},
		} {
			req := p.request(t, "POST", "/", struct{ io.Reader }{strings.NewReader("a=1" + strings.Repeat("x", size))})
			req.Header.Set("Content-Type", formType)
			req.Trailer = announced
			equal(t, http.StatusOK, p.do(t, req).status, "status")
			equal(t, http.Header{"X-Sum": {"1"}, "Body": {"token=canary%2FT0ken%2B4f9c2e71%3D%3D&a=1"}}, <-got, "trailers")
		}
	}
}

// A dead token in a body: the second attempt has the other one.
func TestBodiesAreHealed(t *testing.T) {
	for _, sent := range []struct{ mediaType, body, want string }{
		{formType, "a=1&token=evil", "token=canary%2FFresh%2B0badf00d%3D%3D&a=1"},
		{"application/json", `{"a":1,"token":0}`, `{"token":"` + fresh + `","a":1}`},
		{"", "", "token=canary%2FFresh%2B0badf00d%3D%3D"},
	} {
		var bodies []string
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			content, err := io.ReadAll(r.Body)
			noError(t, err)
			noError(t, r.Body.Close())
			bodies = append(bodies, string(content))
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
			if len(bodies) == 1 {
				resp.StatusCode = http.StatusUnauthorized
			}
			return resp, nil
		})
		first, next := apiLease(inBody), apiLease(inBody)
		first.Target.Dead, next.Target.Dead = ruleOf(t, onStatus), ruleOf(t, onStatus)
		first.Target.ReplayMax, next.Target.ReplayMax = 1000, 1000
		next.Access, next.Values = fresh, []string{fresh}
		transport := over(base, Job{Lease: first, Dial: "api.example.com:443"})
		transport.Source = otherToken{next}
		req := get("/")
		req.Method, req.Header = "POST", http.Header{}
		if sent.body != "" {
			req.Header.Set("Content-Type", sent.mediaType)
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(sent.body)), int64(len(sent.body))
		}
		resp, err := transport.RoundTrip(req)
		noError(t, err)
		equal(t, http.StatusOK, read(t, resp).status, sent.mediaType)
		if len(bodies) != 2 || bodies[1] != sent.want {
			t.Errorf("%s: %q", sent.mediaType, bodies)
		}
	}
}

// otherToken is a Source that always has the one token.
type otherToken struct{ lease *realm.Lease }

func (s otherToken) Heal(context.Context, realm.Ref, realm.Hidden, realm.Blame) (*realm.Lease, bool, error) {
	return s.lease, true, nil
}

func (otherToken) Helped(realm.Ref, *realm.Lease) {}

func (otherToken) Worked(realm.Ref, *realm.Lease) {}

// Nothing goes out of the piece in which a body turns out to be malformed: not
// even the beginning, which may have the token in it.
func TestBodiesBreakOffInFront(t *testing.T) {
	b := &injectedBody{
		ReadCloser: io.NopCloser(strings.NewReader(`{"a":1]`)), kind: newJSONBody(bodyLease("token"), false), piece: make([]byte, bodyPiece),
	}
	content, err := io.ReadAll(b)
	if len(content) > 0 || !errors.Is(err, errJSON) {
		t.Errorf("%q, %v", content, err)
	}
}
