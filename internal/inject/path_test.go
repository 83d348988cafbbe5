package inject

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var (
	inPath = realm.Place{In: realm.PlacePath, Name: "bot", Pair: "/bot"}
	inFile = realm.Place{In: realm.PlacePath, Name: "file/bot", Pair: "/file/bot"}
	atRoot = realm.Place{In: realm.PlacePath, Name: "/", Pair: "/"}
)

// pathLease is a lease whose token stands in the path as that of a bot does.
func pathLease(places ...realm.Place) *realm.Lease {
	l := apiLease(places...)
	for i, p := range places {
		if p.In == realm.PlacePath {
			l.Values[i] = "123:AA-b%2Fc"
		}
	}
	l.Access = "123:AA-b/c"
	return l
}

func TestPaths(t *testing.T) {
	const sent = "/bot123:AA-b%2Fc"
	for _, tt := range []struct {
		places    []realm.Place
		path      string
		want      string
		wantAsked string
	}{
		{[]realm.Place{inPath}, "/getMe", sent + "/getMe", "/getMe"},
		{[]realm.Place{inPath}, "/botDUMMY/getMe", sent + "/getMe", "/getMe"},
		{[]realm.Place{inPath}, "/bot/getMe", sent + "/getMe", "/getMe"},
		{[]realm.Place{inPath}, "/bot1:a%2Fb", sent, "/"},
		{[]realm.Place{inPath}, "", sent, "/"},
		{[]realm.Place{inPath}, "/", sent + "/", "/"},
		{[]realm.Place{inPath}, "/a%2Fb/c%20d/%C3%A9", sent + "/a%2Fb/c%20d/%C3%A9", "/a%2Fb/c%20d/%C3%A9"},
		{[]realm.Place{inPath}, "/botX/a%2fb;c=%41", sent + "/a%2fb;c=%41", "/a%2fb;c=%41"},
		// Nothing of the caller's moves the token or makes two of it.
		{[]realm.Place{inPath}, "//botX/getMe", sent + "//botX/getMe", "//botX/getMe"},
		{[]realm.Place{inPath}, "/botX/botY/getMe", sent + "/botY/getMe", "/botY/getMe"},
		{[]realm.Place{inPath}, "/x/botX/getMe", sent + "/x/botX/getMe", "/x/botX/getMe"},
		{[]realm.Place{inPath}, "/%62otX/getMe", sent + "/%62otX/getMe", "/%62otX/getMe"},
		{[]realm.Place{inPath}, "/BOTX/getMe", sent + "/BOTX/getMe", "/BOTX/getMe"},
		{[]realm.Place{inPath}, "/botX%2fgetMe", sent, "/"},
		{[]realm.Place{inPath}, "/file/botX/a.jpg", sent + "/file/botX/a.jpg", "/file/botX/a.jpg"},
		{[]realm.Place{inPath, inFile}, "/file/botX/a.jpg", "/file" + sent + "/a.jpg", "/file/a.jpg"},
		{[]realm.Place{inPath, inFile}, "/file/bot", "/file" + sent, "/file"},
		{[]realm.Place{inPath, inFile}, "/file/a.jpg", sent + "/file/a.jpg", "/file/a.jpg"},
		{[]realm.Place{inPath, inFile}, "/botX/file/botY", sent + "/file/botY", "/file/botY"},
		{[]realm.Place{inFile, inPath}, "/getMe", "/file" + sent + "/getMe", "/getMe"},
		{[]realm.Place{atRoot}, "/latest/USD", "/123:AA-b%2Fc/latest/USD", "/latest/USD"},
	} {
		for _, base := range []string{"", "/v1", "/a%2Fb/"} {
			l := pathLease(tt.places...)
			l.Target.API = &url.URL{Scheme: "https", Host: "api.example.com"}
			setPath(l.Target.API, base)
			req := get("/")
			setPath(req.URL, tt.path)
			asked := &askedSender{}
			out, a := sendJob(t, Job{Lease: l, Dial: "api.example.com:443", UseAPI: base != "", Sender: asked}, req)
			equal(t, http.StatusOK, a.status, tt.path)
			base = strings.TrimSuffix(base, "/")
			equal(t, base+tt.want, out.URL.EscapedPath(), tt.path)
			equal(t, strings.TrimSuffix(base+tt.wantAsked, "/"), strings.TrimSuffix(asked.path, "/"), tt.path)
		}
	}
}

// askedSender keeps the path that it was asked about.
type askedSender struct{ path string }

func (s *askedSender) MaySend(_ realm.Ref, out *http.Request) error {
	s.path = out.URL.EscapedPath()
	return nil
}

// A path whose first slash is escaped would go on in the segment of the token.
func TestPathsWithoutASlash(t *testing.T) {
	req := get("/")
	req.URL.Path, req.URL.RawPath = "/x", "%2Fx"
	out, a := send(t, pathLease(inPath), req)
	if out != nil || a.status != http.StatusBadRequest {
		t.Errorf("%v, %d %s", out, a.status, a.body)
	}
}

// A dot segment, in whatever way somebody may read one, would lead out of the
// token's segment, to a path with another one or with none.
func TestPathsWithDots(t *testing.T) {
	for _, path := range []string{
		"/.", "/..", "/../botMINE/getMe", "/botX/../botMINE/getMe", "/a/./b", "/%2e%2e/botMINE/getMe", "/.%2E/x", "/..%2fbotMINE",
		"/..%5cbotMINE", `/..%5CbotMINE`, "/%252e%252e/x", "/%25252e./x", "/..;a=b/x", "/..%00/x", "/..%20/x", "/%c0%ae%c0%ae/x", "/x%c0%af../y", "/a/..",
	} {
		req := get("/")
		setPath(req.URL, path)
		out, a := send(t, pathLease(inPath), req)
		if out != nil || a.status != http.StatusBadRequest || !strings.Contains(a.body, `"invalid_field"`) || !strings.Contains(a.body, `"path"`) {
			t.Errorf("%s: %v, %d %s", path, out, a.status, a.body)
		}
		if out, _ := send(t, apiLease(inQuery), req); out == nil || out.URL.EscapedPath() != path {
			t.Errorf("%s: refused without a token in the path", path)
		}
	}
	for _, path := range []string{"/a..b/...", "/.well-known/x", "/a%2Fb.c/..d", "/100%25/x"} {
		req := get("/")
		setPath(req.URL, path)
		if out, a := send(t, pathLease(inPath), req); out == nil {
			t.Errorf("%s: refused: %s", path, a.body)
		}
	}
}

// The words of a path are no name of a parameter, a header or a cookie.
func TestPathWordsAreNoNames(t *testing.T) {
	req := get("/getMe?bot=1&x=2")
	req.Header = http.Header{"Bot": {"1"}, "Cookie": {"bot=1"}}
	l := pathLease(inPath, inCustom)
	l.Target.Pass = []string{"Cookie"}
	out, _ := send(t, l, req)
	equal(t, "bot=1&x=2", out.URL.RawQuery, "query")
	equal(t, http.Header{"Bot": {"1"}, "Cookie": {"bot=1"}, "X-Access-Token": {token}}, out.Header, "header")
}

// What a log prints after the round trip is the caller's request.
func TestPathIsNotInTheRequestThatIsLogged(t *testing.T) {
	req := get("/getMe")
	send(t, pathLease(inPath), req)
	equal(t, "/getMe", req.URL.EscapedPath(), "path")
}

// The last check does not trust what came before.
func TestPathIsChecked(t *testing.T) {
	l := pathLease(inPath)
	for path, want := range map[string]bool{
		"/v1/bot123:AA-b%2Fc": true, "/v1/bot123:AA-b%2Fc/x": true, "/v1/bot123:AA-b%2Fcx": false, "/bot123:AA-b%2Fc/x": false,
		"/v1/x/bot123:AA-b%2Fc": false, "/v1/bot123:AA-b/c": false,
	} {
		out := new(outgoing)
		setPath(&out.url, path)
		equal(t, want, out.hasPath(l, pathSlot{place: 0, base: "/v1"}), path)
	}
	out := new(outgoing)
	out.placeInPath(l, pathSlot{at: 7})
	equal(t, false, out.hasPath(l, pathSlot{at: 7}), "a place behind the path")
}

// FuzzPath: whatever path a caller sends, the token stands once, where the realm
// wants it, and the rest arrives as it was sent.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/getMe", "/botX/getMe", "/file/botX/a%2Fb", "//bot/..", "/%62ot", ""} {
		f.Add(path)
	}
	l := pathLease(inPath, inFile)
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse(path)
		if err != nil || u.Host != "" || u.Scheme != "" || u.Path != "" && u.Path[0] != '/' {
			return
		}
		sent := u.EscapedPath()
		out := &outgoing{url: url.URL{Path: u.Path, RawPath: u.RawPath}}
		slot, err := out.askedPath(l.Target, false)
		if err != nil {
			isElsewhere := errors.Is(err, errRequestTarget) && sent[0] != '/'
			if !isElsewhere && !errors.Is(err, errDotSegments) || !strings.Contains(sent, ".") && !strings.Contains(sent, "%") {
				t.Errorf("%q: %v", sent, err)
			}
			return
		}
		out.placeInPath(l, slot)
		if !out.hasPath(l, slot) {
			t.Fatalf("%q became %q", sent, out.url.EscapedPath())
		}
		checkPath(t, sent, out.url.EscapedPath())
	})
}

// checkPath compares a path with what the model makes of it, segment by segment.
func checkPath(t *testing.T, sent, got string) {
	t.Helper()
	const ours = "bot123:AA-b%2Fc"
	want := strings.Split(sent, "/") // begins with an empty one
	isDummy := func(i int) bool { return len(want) > i && strings.HasPrefix(want[i], "bot") }
	switch {
	case isDummy(1):
		want[1] = ours
	case len(want) > 1 && want[1] == "file" && isDummy(2):
		want[2] = ours
	default:
		want = append([]string{"", ours}, want[1:]...)
	}
	if joined := strings.Join(want, "/"); joined != got {
		t.Errorf("%q became %q, want %q", sent, got, joined)
	}
}
