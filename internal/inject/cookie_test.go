package inject

import (
	"net/http"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var inCookie = realm.Place{In: realm.PlaceCookie, Name: "SessionId", Pair: "SessionId="}

// One Cookie field goes out: ours in front, and what the caller sent only where
// the realm passes it on, without any spelling of our name.
func TestCookies(t *testing.T) {
	second := realm.Place{In: realm.PlaceCookie, Name: "route", Pair: "route="}
	for _, tt := range []struct {
		name   string
		places []realm.Place
		pass   []string
		sent   []string
		want   string
	}{
		{"none sent", []realm.Place{inCookie}, []string{"Cookie"}, nil, "SessionId=" + token},
		{"not passed", []realm.Place{inCookie}, nil, []string{"a=1"}, "SessionId=" + token},
		{"passed", []realm.Place{inCookie}, []string{"Cookie"}, []string{"a=1; b=2"}, "SessionId=" + token + "; a=1; b=2"},
		{"copies", []realm.Place{inCookie}, []string{"Cookie"}, []string{"sessionid=evil; a=1, Session%49d=evil;b=2"}, "SessionId=" + token + ";  a=1;b=2"},
		{"two fields", []realm.Place{inCookie}, []string{"Cookie"}, []string{"a=1", "SESSIONID=evil", "b=2"}, "SessionId=" + token + "; a=1; b=2"},
		{"an open quote", []realm.Place{inCookie}, []string{"Cookie"}, []string{`a="1`}, "SessionId=" + token + `; a="1`},
		{"two places", []realm.Place{inCookie, second}, []string{"Cookie"}, []string{"a=1; route=evil"}, "SessionId=" + token + "; route=" + token + "; a=1"},
		{"a session of the console", []realm.Place{inCookie}, []string{"Cookie"}, []string{"a=1; tokens_session=x; b=2", "Tokens%5fsession=y"}, "SessionId=" + token + "; a=1; b=2"},
		{"beside others", []realm.Place{inQuery, inCookie, inHeader}, nil, nil, "SessionId=" + token},
	} {
		req := get("/?sessionid=evil&x=1")
		req.Header = http.Header{"Sessionid": {"evil"}, "X-Other": {"1"}}
		if tt.sent != nil {
			req.Header["Cookie"] = tt.sent
		}
		l := apiLease(tt.places...)
		l.Target.Pass = tt.pass
		out, a := send(t, l, req)
		equal(t, http.StatusOK, a.status, tt.name)
		equal(t, []string{tt.want}, out.Header["Cookie"], tt.name)
		equal(t, "x=1", out.URL.RawQuery[:3], tt.name)
		equal(t, []string(nil), out.Header["Sessionid"], tt.name)
	}
}

// What a log prints after the round trip is the caller's request.
func TestCookiesAreNotInTheRequestThatIsLogged(t *testing.T) {
	req := get("/")
	req.Header = http.Header{"Cookie": {"a=1"}}
	l := apiLease(inCookie)
	l.Target.Pass = []string{"Cookie"}
	send(t, l, req)
	equal(t, http.Header{"Cookie": {"a=1"}}, req.Header, "header")
}

// The last check knows a request whose cookies are not what the realm wants.
func TestCookiesAreChecked(t *testing.T) {
	l := apiLease(inCookie)
	good := "SessionId=" + token
	for line, want := range map[string]bool{
		good: true, good + "; a=1": true, "": false, "a=1; " + good: false, good + "x": false, good + ";a=1": false,
		good + "; sessionid=evil": false, good + "; " + good: false,
	} {
		out := &outgoing{}
		out.Header = http.Header{"Cookie": {line}}
		equal(t, want, out.hasToken(l), line)
	}
	out := &outgoing{}
	out.Header = http.Header{"Cookie": {good, "a=1"}}
	equal(t, false, out.hasToken(l), "two fields")
	equal(t, false, (&outgoing{}).hasToken(l), "no field")
}
