package grant

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func headerOfType(mediaType string) http.Header {
	if mediaType == "" {
		return http.Header{}
	}
	return http.Header{"Content-Type": {mediaType}}
}

// What of a body is looked at, by the type of the answer and the kind of the rule.
func TestDeadLook(t *testing.T) {
	const (
		jsonRule  = `[{"json":"errcode","values":[1]}]`
		textRule  = `[{"text":"dead"}]`
		typesRule = `[{"json":"errcode","values":[1],"types":["Image/JPEG"]},{"text":"dead","types":["image/png"]}]`
	)
	for _, c := range []struct {
		mediaType          string
		json, text, byType realm.Look
	}{
		{"application/json", realm.LookAtJSON, realm.LookAtText, realm.LookAtText},
		{"application/problem+JSON; charset=utf-8", realm.LookAtJSON, realm.LookAtText, realm.LookAtText},
		{"text/plain", realm.LookAtJSON, realm.LookAtText, realm.LookAtText},
		{"", realm.LookAtJSON, realm.LookAtJSON, realm.LookAtJSON},
		{"text/html", realm.LookAtObject, realm.LookAtText, realm.LookAtText},
		{"application/xml", realm.LookAtObject, realm.LookAtText, realm.LookAtText},
		{"application/soap+xml", realm.LookAtObject, realm.LookAtText, realm.LookAtText},
		{"plain/text", realm.LookAtObject, realm.LookAtObject, realm.LookAtObject},
		{"application/octet-stream", realm.LookAtObject, realm.LookAtObject, realm.LookAtObject},
		{"image/jpeg", realm.LookAtObject, realm.LookAtObject, realm.LookAtJSON},
		{"image/png", realm.LookAtObject, realm.LookAtObject, realm.LookAtText},
		{"text/event-stream", realm.LookNowhere, realm.LookNowhere, realm.LookNowhere},
		{"multipart/mixed; boundary=x", realm.LookNowhere, realm.LookNowhere, realm.LookNowhere},
		{"application/x-ndjson", realm.LookNowhere, realm.LookNowhere, realm.LookNowhere},
		{"application/grpc+proto", realm.LookNowhere, realm.LookNowhere, realm.LookNowhere},
	} {
		for rule, want := range map[string]realm.Look{jsonRule: c.json, textRule: c.text, typesRule: c.byType} {
			if got := deadOf(t, rule).Look(200, headerOfType(c.mediaType)); got != want {
				t.Errorf("%s, %q: %v, want %v", rule, c.mediaType, got, want)
			}
		}
	}
	if got := deadOf(t, `[{"status":[403],"text":"dead"},{"json":"a"}]`).Look(200, headerOfType("text/html")); got != realm.LookAtObject {
		t.Errorf("a rule about another status looks: %v", got)
	}
}

func TestDeadText(t *testing.T) {
	const salesforce = `[{"status":[403],"text":"Bad_OAuth_Token"}]`
	for _, c := range []struct {
		rules, mediaType, body string
		status                 int
		whole, want            bool
	}{
		{salesforce, "text/html", "Bad_OAuth_Token", 403, true, true},
		{salesforce, "text/html;charset=UTF-8", "<p>Bad_OAuth_Token</p>", 403, true, true},
		{salesforce, "text/html", "Bad_OAuth_Token", 200, true, false},
		{salesforce, "text/html", "You have no right", 403, true, false},
		{salesforce, "text/html", "bad_oauth_token", 403, true, false},
		{salesforce, "application/json", `{"message":"Bad_OAuth_Token"}`, 403, true, true},
		{salesforce, "application/json", `Bad_OAuth_Token`, 403, true, true},
		{salesforce, "application/xml", `<error>Bad_OAuth_Token</error>`, 403, true, true},
		{salesforce, "text/html", "Bad_OAuth_Token" + strings.Repeat(" ", 1000), 403, false, true},
		{salesforce, "image/jpeg", "Bad_OAuth_Token", 403, true, false},
		{salesforce, "image/jpeg", `{"x":"Bad_OAuth_Token"}`, 403, true, true},
		{salesforce, "", "Bad_OAuth_Token", 403, true, false},
		{salesforce, "text/event-stream", "data: Bad_OAuth_Token\n\n", 403, true, false},
		{`[{"text":"dead","types":["image/png"]}]`, "image/png", "dead", 200, true, true},
		// both of one rule must hold
		{`[{"json":"code","values":[1],"text":"token"}]`, "application/json", `{"code":1,"m":"the token"}`, 200, true, true},
		{`[{"json":"code","values":[1],"text":"token"}]`, "application/json", `{"code":1,"m":"no right"}`, 200, true, false},
		{`[{"json":"code","values":[1],"text":"token"}]`, "application/json", `{"code":2,"m":"the token"}`, 200, true, false},
		{`[{"json":"code","values":[1]}]`, "application/json", `{"code":1}`, 200, false, false},
		{`[{"json":"code","values":[1]}]`, "image/jpeg", `[{"code":1}]`, 200, true, false},
		{`[{"json":"*.code","values":[1]}]`, "image/jpeg", `[{"code":1}]`, 200, true, false},
		{`[{"json":"*.code","values":[1],"types":["image/jpeg"]}]`, "image/jpeg", `[{"code":1}]`, 200, true, true},
		// the first is no document, and the second needs none
		{`[{"json":"a","values":[1]},{"text":"dead"}]`, "application/json", `{"a":1} dead`, 200, true, true},
		{`[{"text":"gone","status":[403]},{"json":"a","values":[1]}]`, "application/json", `{"a":1}`, 200, true, true},
	} {
		got := deadOf(t, c.rules).Body(c.status, headerOfType(c.mediaType), []byte(c.body), c.whole)
		if got != c.want {
			t.Errorf("%s, %d %q %.60q: %v", c.rules, c.status, c.mediaType, c.body, got)
		}
	}
}

func TestDeadHeader(t *testing.T) {
	const grpc = `[{"header":"grpc-status","values":["16"]}]`
	for _, c := range []struct {
		rules   string
		status  int
		header  http.Header
		verdict realm.Verdict
		trailer bool // when the header comes as a trailer
	}{
		{grpc, 200, http.Header{"Grpc-Status": {"16"}}, realm.Dead, true},
		{grpc, 200, http.Header{"Grpc-Status": {"7"}}, realm.Alive, false},
		{grpc, 200, http.Header{"Grpc-Status": {"7", "16"}}, realm.Dead, true},
		{grpc, 200, http.Header{"Grpc-Message": {"16"}}, realm.Alive, false},
		{grpc, 200, nil, realm.Alive, false},
		{`[{"header":"Grpc-Status","values":[16]}]`, 200, http.Header{"Grpc-Status": {"16"}}, realm.Dead, true},
		{`[{"header":"X-Expired"}]`, 200, http.Header{"X-Expired": {""}}, realm.Dead, true},
		{`[{"header":"X-Expired","status":[400]}]`, 200, http.Header{"X-Expired": {"1"}}, realm.Alive, false},
		{`[{"header":"X-Expired","status":[400]}]`, 400, http.Header{"X-Expired": {"1"}}, realm.Dead, true},
		{`[{"header":"X-Error","values":["dead"],"text":"sorry"}]`, 400, http.Header{"X-Error": {"dead"}}, realm.AskBody, false},
		{`[{"header":"X-Error","values":["dead"],"text":"sorry"}]`, 400, http.Header{"X-Error": {"other"}}, realm.Alive, false},
	} {
		d := deadOf(t, c.rules)
		if got := d.Head(c.status, c.header); got != c.verdict {
			t.Errorf("%s, %d %v: %v", c.rules, c.status, c.header, got)
		}
		if got := d.AwaitsTrailer(c.status) && d.Trailer(c.status, c.header); got != c.trailer {
			t.Errorf("%s, %d trailer %v: %v", c.rules, c.status, c.header, got)
		}
	}
	both := deadOf(t, `[{"header":"X-Error","values":["dead"],"text":"sorry"}]`)
	for value, want := range map[string]bool{"dead": true, "other": false} {
		header := http.Header{"X-Error": {value}, "Content-Type": {"text/plain"}}
		if got := both.Body(400, header, []byte("so sorry"), true); got != want {
			t.Errorf("%s: %v", value, got)
		}
	}
}

// Rules that need no body cost nothing.
func TestDeadHeadAllocations(t *testing.T) {
	d := deadOf(t, `[{"status":[401]},{"header":"grpc-status","values":["16"]}]`)
	if d.Looks() {
		t.Error("it looks into bodies")
	}
	h := http.Header{"Grpc-Status": {"0"}, "Content-Type": {"application/json"}}
	if n := testing.AllocsPerRun(100, func() { d.Head(200, h); d.Trailer(200, h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A rule about token answers refuses what only answers of an API are judged by.
func TestRulesOfTokenAnswers(t *testing.T) {
	for rule, field := range map[string]string{
		`{"text":"bad token"}`:                      "config.success[0].text",
		`{"header":"X-Error"}`:                      "config.success[0].header",
		`{"json":"a","types":["application/x-js"]}`: "config.success[0].types",
	} {
		_, err := Compile(realmOf(t, `{"url":"https://a.example.com","token_path":"t","success":[`+rule+`]}`, ""), false)
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
