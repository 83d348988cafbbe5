package grant

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func deadOf(t testing.TB, rules string) realm.DeadRule {
	t.Helper()
	var r realm.Realm
	if err := realm.Decode([]byte(`{"id":"x","config":{"api":"https://api.example.com","renew_on":`+rules+`}}`), "", &r); err != nil {
		t.Fatal(err)
	}
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	return p.target.common.Dead
}

// The dead-token answers of providers, and answers that only look like them.
const (
	wechatRule     = `[{"json":"errcode","values":[40001,40014,42001]}]`
	feishuRule     = `[{"status":[400],"json":"code","values":[99991663,99991664]}]`
	dingtalkRule   = `[{"status":[400],"json":"code","values":["InvalidAuthentication"]}]`
	salesforceRule = `[{"status":[401],"json":"0.errorCode","values":["INVALID_SESSION_ID"]}]`
	slackRule      = `[{"json":"ok","values":[false]},{"status":[401]}]`
)

func TestDeadStatus(t *testing.T) {
	for _, c := range []struct {
		rules  string
		status int
		want   realm.Verdict
		looks  bool
	}{
		{`[{"status":[401]}]`, 401, realm.Dead, false},
		{`[{"status":[401]}]`, 200, realm.Alive, false},
		{wechatRule, 200, realm.AskBody, true},
		{wechatRule, 503, realm.AskBody, true},
		{feishuRule, 400, realm.AskBody, true},
		{feishuRule, 200, realm.Alive, true},
		{slackRule, 401, realm.Dead, true},
		{slackRule, 200, realm.AskBody, true},
	} {
		d := deadOf(t, c.rules)
		if got := d.Head(c.status, nil); got != c.want || d.Looks() != c.looks {
			t.Errorf("%s, %d: %v, looks %v", c.rules, c.status, got, d.Looks())
		}
	}
}

func TestDeadBody(t *testing.T) {
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for _, c := range []struct {
		rules  string
		status int
		body   string
		want   bool
	}{
		{wechatRule, 200, `{"errcode":40001,"errmsg":"invalid credential"}`, true},
		{wechatRule, 200, "\xef\xbb\xbf \n{\"errmsg\":\"x\",\"errcode\":\"42001\"}\n", true},
		{wechatRule, 200, `{"errcode":40014.0}`, true},
		{wechatRule, 200, `{"errcode":0,"errmsg":"ok"}`, false},
		{wechatRule, 200, `{"errcode":400010}`, false},
		{wechatRule, 200, `{}`, false},
		{wechatRule, 200, `{"errcode":{"errcode":40001}}`, false},
		// a name that is spelled with escapes, which is the same name
		{wechatRule, 200, `{"err\u0063ode":40001}`, true},
		{wechatRule, 200, `{"\u0065\u0072\u0072\u0063\u006F\u0064\u0065":40001}`, true},
		{wechatRule, 200, `{"err\u0063ode":40001,"errcode":0}`, false},
		{wechatRule, 200, `{"\u9519":40001}`, false},
		{`[{"json":"a/b","values":[1]}]`, 200, `{"a\/b":1}`, true},
		{`[{"json":"错误","values":[1]}]`, 200, `{"\u9519\u8bef":1}`, true},
		{`[{"json":"a.0","values":[1]}]`, 200, `{"a":[1]}`, true},
		{`[{"json":"a.*.b.0","values":[1]}]`, 200, `{"a":[{},{"b":[1]}]}`, true},
		{`[{"json":"*.0","values":[1]}]`, 200, `[[1]]`, true},
		// quoted elsewhere
		{wechatRule, 200, `{"errcode":0,"data":{"errcode":40001}}`, false},
		{wechatRule, 200, `{"text":"{\"errcode\":40001}"}`, false},
		{wechatRule, 200, `[{"errcode":40001}]`, false},
		{wechatRule, 200, `"errcode 40001"`, false},
		{wechatRule, 200, `<errcode>40001</errcode>`, false},
		// what is no document
		{wechatRule, 200, ``, false},
		{wechatRule, 200, `{"errcode":40001`, false},
		{wechatRule, 200, `{"errcode":40001} {`, false},
		{wechatRule, 200, `{"errcode":40001,"errcode":0}`, false},
		{wechatRule, 200, "{\"errcode\":40001,\"x\":\"\xff\"}", false},
		{wechatRule, 200, `{"errcode":40001,"x":` + deep + `}`, false},
		{wechatRule, 200, deep, false},
		{wechatRule, 200, `{"errcode":4e99999999}`, false},

		{feishuRule, 400, `{"code":99991663,"msg":"Invalid access token"}`, true},
		{feishuRule, 400, `{"code":99991661,"msg":"Missing access token"}`, false},
		{feishuRule, 200, `{"code":99991663}`, false},
		{dingtalkRule, 400, `{"code":"InvalidAuthentication"}`, true},
		{dingtalkRule, 400, `{"code":"MissingappKey"}`, false},
		{salesforceRule, 401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`, true},
		{salesforceRule, 401, `[{"errorCode":"X"},{"errorCode":"INVALID_SESSION_ID"}]`, false},
		{salesforceRule, 401, `{"0":{"errorCode":"INVALID_SESSION_ID"}}`, true}, // an index is a name as well
		{slackRule, 200, `{"ok":false,"error":"token_expired"}`, true},
		{slackRule, 200, `{"ok":true}`, false},
		{`[{"json":"ok","values":[true],"absent":true}]`, 200, `{}`, true},
		{`[{"json":"ok","values":[true],"absent":true}]`, 200, ``, false},
		{`[{"json":"ok","values":[true],"absent":true}]`, 200, `null`, false},
	} {
		if got := deadOf(t, c.rules).Body(c.status, nil, []byte(c.body), true); got != c.want {
			t.Errorf("%s, %d, %.60s: %v", c.rules, c.status, c.body, got)
		}
	}
}

// All leases of a realm share one rule, also where each has a target of its
// own.
func TestDeadIsShared(t *testing.T) {
	config := `{"api":"https://{secret.shop}.example.com","renew_on":[{"status":[401]}],"replay_max":"2KiB"}`
	p, err := Compile(realmOf(t, config, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	var targets []*realm.Target
	for _, shop := range []string{"a", "b"} {
		b, err := p.Bind(secretOf(map[string]string{"shop": shop, "token": "T"}))
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, b.Target())
	}
	if targets[0] == targets[1] || targets[0].Dead == nil || targets[0].Dead != targets[1].Dead {
		t.Error("the rule is not shared")
	}
	if targets[0].ReplayMax != 2<<10 {
		t.Errorf("replay_max %d", targets[0].ReplayMax)
	}
	none, err := targetOf(t, `{"api":"https://api.example.com"}`, false, map[string]string{})
	if err != nil || none.Dead != nil || none.ReplayMax != 1<<20 {
		t.Errorf("%+v %v", none, err)
	}
}

// BenchmarkDeadBody judges answers that are alive.
func BenchmarkDeadBody(b *testing.B) {
	people := func(n int) string { return strings.Repeat(`{"id":12345,"name":"somebody \"Bob\" 王"},`, n) }
	for name, body := range map[string]string{
		"1KB":        `{"errcode":0,"errmsg":"ok","data":[` + people(24) + `{}]}`,
		"60KB":       `{"errcode":0,"errmsg":"ok","data":[` + people(1430) + `{}]}`,
		"60KB-last":  `{"data":[` + people(1430) + `{}],"errcode":0,"errmsg":"ok"}`,
		"60KB-flat":  `[` + people(1430) + `{"errcode":0}]`,
		"60KB-none":  `{"code":0,"msg":"ok","data":[` + people(1430) + `{}]}`,
		"60KB-quote": `{"code":0,"msg":"\"errcode\"","data":[` + people(1430) + `{}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			d, body := deadOf(b, wechatRule), []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				if d.Body(200, nil, body, true) {
					b.Fatal("dead")
				}
			}
		})
	}
}

// FuzzDeadBody: no answer makes a rule panic, only valid JSON is dead, and the search
// for the names changes nothing.
func FuzzDeadBody(f *testing.F) {
	var rules, walking []realm.DeadRule // the same, but one walks along every path
	for _, text := range []string{
		wechatRule, salesforceRule, slackRule, `[{"json":"a.0.b"}]`, `[{"json":"a.b","values":[1,"x",true,null]}]`, `[{"json":"a.0"},{"json":"0","values":[1]}]`,
		`[{"json":"a.*.b","values":["x"]}]`, `[{"json":"*.a"}]`, `[{"json":"a/b"},{"json":"é"}]`, `[{"json":"a","values":[1],"absent":true}]`,
	} {
		rules = append(rules, deadOf(f, text))
		walks := *deadOf(f, text).(*deadRule)
		walks.rules = slices.Clone(walks.rules)
		for i := range walks.rules {
			walks.rules[i].name = memberName{}
		}
		walking = append(walking, &walks)
	}
	f.Add([]byte(`{"errcode":40001}`), 200, byte(0))
	f.Add([]byte(`{"err\u0063ode" : 40001}`), 200, byte(0))
	f.Add([]byte(`[{"errorCode":"INVALID_SESSION_ID"}]`), 401, byte(1))
	f.Add([]byte(`{"a":[{"b":"c"}]}`), 200, byte(3))
	f.Add([]byte(`{"a":{"b":{}},"a":{"b":1}}`), 200, byte(4))
	f.Add([]byte(`{"a":{"0":1}}`), 200, byte(5))
	f.Add([]byte(`[{"a":[{},{"b":"\u0078"}]}]`), 200, byte(6))
	f.Add([]byte(`{"a\/b":1,"\u00e9":2}`), 200, byte(8))
	f.Fuzz(func(t *testing.T, body []byte, status int, which byte) {
		i := int(which) % len(rules)
		dead := rules[i].Body(status, nil, body, true)
		if dead != walking[i].Body(status, nil, body, true) {
			t.Errorf("%q is dead: %v, and not so by the walk alone", body, dead)
		}
		if _, problem := parseDocument(body, realm.ContentJSON); dead && problem != "" {
			t.Errorf("%q is dead, and %s", body, problem)
		}
	})
}
