package grant

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refusal is what a provider answers in place of a token, and what the admin
// has to read of it.
type refusal struct {
	Provider      string
	Status        int
	Answer        json.RawMessage // a string is the body as it is
	Code, Message string
}

func (r refusal) body() string {
	var text string
	if json.Unmarshal(r.Answer, &text) == nil {
		return text
	}
	return string(r.Answer)
}

func refusalsOf(t *testing.T) (refusals, dead []refusal) {
	t.Helper()
	var file struct {
		Refusals []refusal
		Dead     []refusal `json:"dead_refresh_tokens"`
	}
	text, err := os.ReadFile("testdata/refusals.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil || len(file.Refusals) == 0 || len(file.Dead) == 0 {
		t.Fatalf("the file has %d and %d cases, %v", len(file.Refusals), len(file.Dead), err)
	}
	return file.Refusals, file.Dead
}

// TestRefusalsOfProviders: each provider wraps its reason in its own way. More
// shapes are written here than the file has.
func TestRefusalsOfProviders(t *testing.T) {
	refusals, _ := refusalsOf(t)
	for _, c := range []struct{ provider, body, code, message string }{
		{"taobao", `{"error_response":{"code":27,"msg":"Invalid session","sub_code":"isv.invalid-session","sub_msg":"the session has ended"}}`, "isv.invalid-session", "the session has ended"},
		{"taobao without sub_code", `{"error_response":{"code":27,"msg":"Invalid session","request_id":"x"}}`, "27", "Invalid session"},
		{"suning", `{"sn_responseContent":{"sn_error":{"error_code":"sys.check.appKey","error_msg":"the appKey is wrong"}}}`, "sys.check.appKey", "the appKey is wrong"},
		{"kingdee", `{"data":{"success":false,"error_code":"1013","error_desc":"no such app"},"state":"error"}`, "1013", "no such app"},
		{"kingdee cloud", `{"errcode":1013,"description":"no such app"}`, "1013", "no such app"},
		{"kingdee with a status", `{"status":false,"errorCode":"610","message":"the app is off"}`, "610", "the app is off"},
		{"baidu", `{"error_code":110,"error_msg":"Access token invalid"}`, "110", "Access token invalid"},
		{"alipay", `{"error_response":{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.code-invalid","sub_msg":"the code is invalid"},"sign":"x"}`, "isv.code-invalid", "the code is invalid"},
		{"tencent ads", `{"code":11000,"message":"invalid client_secret","message_cn":"x","data":{}}`, "11000", "invalid client_secret"},
		{"doudian with data", `{"err_no":30001,"message":"bad code","data":null}`, "30001", "bad code"},
		{"feishu", `{"code":20002,"error":"invalid_client","error_description":"wrong secret"}`, "20002", "wrong secret"},
		{"a word beside a status", `{"error":"invalid_client","code":401,"message":"no"}`, "invalid_client", "no"},
		{"facebook", `{"error":{"message":"bad","type":"OAuthException","code":190,"error_subcode":463}}`, "190", "bad"},
		{"google", `{"error":{"code":400,"message":"bad","errors":[{"message":"other"}]}}`, "400", "bad"},
		{"aws", `{"Error":{"Code":"AccessDenied","Message":"no"}}`, "AccessDenied", "no"},
		{"an array of errors", `{"Errors":[{"Code":"7","Message":"no"}]}`, "7", "no"},
		{"jsonp without blanks", `cb({"error":7,"error_description":"no"})`, "7", "no"},
		{"a problem document", `{"type":"about:blank","title":"Bad","status":400,"detail":"no"}`, "", "no"},
		{"an error without a code", `{"error":{"message":"no"}}`, "", "no"},
		{"three deep", `{"a":{"b":{"err_code":7,"err_msg":"no"}}}`, "7", "no"},
	} {
		body, _ := json.Marshal(c.body)
		refusals = append(refusals, refusal{c.provider, 200, body, c.code, c.message})
	}
	for _, c := range refusals {
		for _, content := range []string{"json", "form", "text"} {
			config := `{"url":"@","method":"POST","content_type":"` + content + `","token_path":"access_token"}`
			_, failed := fetchFrom(t, config, answering(c.Status, "text/html", c.body()))
			if failed == nil || failed.Kind != KindRefused || failed.ProviderCode != c.Code || failed.ProviderMessage != c.Message {
				t.Errorf("%s (%s): %+v", c.Provider, content, failed)
			}
		}
	}
}

// TestRefusedRefreshTokens: a refresh token that the provider says is dead is
// sent no second time. One that may be alive goes on.
func TestRefusedRefreshTokens(t *testing.T) {
	_, dead := refusalsOf(t)
	const config = `{"refresh":{"url":"@","method":"POST","token_path":"access_token","arguments":[{"name":"r","place":"body","value":"{refresh_token}"}]}}`
	for _, c := range dead {
		_, failed, _ := refreshFrom(t, config, answering(c.Status, "application/json", c.body()))
		if failed == nil || failed.Kind != KindInvalidGrant || failed.ProviderCode != c.Code || failed.Uncertain() {
			t.Errorf("%s: %+v", c.Provider, failed)
		}
	}
	for _, word := range []string{"REFRESH_TOKEN_EXPIRED", "RefreshTokenExpired", "auth.refresh-token-revoked", "invalid_refresh_token", "bad_refresh_token", "isv.refresh-token-invalid"} {
		_, failed, _ := refreshFrom(t, config, answering(400, "", `{"code":"`+word+`","message":"no"}`))
		if failed == nil || failed.Kind != KindInvalidGrant || failed.ProviderCode != word {
			t.Errorf("%s: %+v", word, failed)
		}
	}
	for name, body := range map[string]string{
		"a word about another matter":            `{"code":"refresh_token_missing","message":"no"}`,
		"an expired token of another kind":       `{"code":"TokenExpired","message":"no"}`,
		"another reason under the number of one": `{"code":404,"message":"no such method"}`,
		"a number of another place":              `{"errcode":40107,"errmsg":"refresh_token expired"}`,
		"a secret":                               `{"code":40107,"message":"the app secret is wrong"}`,
		"a parameter":                            `{"code":40001,"message":"refresh_token is required"}`,
	} {
		_, failed, _ := refreshFrom(t, config, answering(200, "application/json", body))
		if failed == nil || failed.Kind != KindRefused {
			t.Errorf("%s: %+v", name, failed)
		}
	}
}

// TestWordsOfSuccess: a code and a message that tell of success are no reason
// of a refusal, and data is no code.
func TestWordsOfSuccess(t *testing.T) {
	for _, body := range []string{
		`{"errcode":0,"errmsg":"ok","accessToken":"T"}`,
		`{"code":200,"message":"success","data":{"accessToken":"T"}}`,
		`{"code":"10000","msg":"Success"}`,
		`{"code":1,"msg":"操作成功"}`,
		`{"data":{"code":"SplxlOBeZQQYbYS6WxSbIA"}}`,
		`{"name":"a person","id":7}`,
		`{"data":{"description":"a person"}}`,
		`{"result":"some text"}`,
		`{"result":{"token":"T"}}`,
		`{"code":{"a":1}}`,
		`[]`, `[1]`, `7`, `"x"`, `null`,
	} {
		root, _ := parseDocument([]byte(body), realm.ContentJSON)
		if w := wordsOf(root); !w.none() {
			t.Errorf("%s: %+v", body, w)
		}
	}
	root, _ := parseDocument([]byte(`{"code":7,"msg":"操作不成功"}`), realm.ContentJSON)
	if w := wordsOf(root); w.code != "7" {
		t.Errorf("a failure counts as a success: %+v", w)
	}
}

// TestThrottling: a provider that says "too often" is asked again later, with
// whatever status it says so.
func TestThrottling(t *testing.T) {
	for body, class := range map[string]Class{
		`{"Code":"Throttling.User","Message":"flow control"}`:                                   Throttled,
		`{"Code":"Throttling","Message":"flow control"}`:                                        Throttled,
		`{"Response":{"Error":{"Code":"RequestLimitExceeded.UinLimitExceeded","Message":"x"}}}`: Throttled,
		`{"code":20002,"error":"slow_down"}`:                                                    Throttled,
		`{"Code":"ThrottlingIsOff","Message":"x"}`:                                              Hopeless,
		`{"code":20002,"error":"invalid_client"}`:                                               Hopeless,
	} {
		_, failed := fetchFrom(t, plainRealm, answering(400, "", body))
		if failed == nil || failed.Class != class {
			t.Errorf("%s: %+v", body, failed)
		}
	}
}

// TestRuleIsNamedWhereItMayBeTheMistake: beside the provider's own reason, our
// rule tells the admin nothing.
func TestRuleIsNamedWhereItMayBeTheMistake(t *testing.T) {
	const sentence = "the success rule for "
	for body, named := range map[string]bool{
		`{"error":"invalid_client","error_description":"no"}`: false,
		`{"error":7}`: false,
		`{"error":"invalid_client","access_token":"T-0123456"}`: true,
		`{"error":{"a":1}}`: true,
	} {
		_, failed := fetchFrom(t, `{"url":"@","token_path":"access_token","success":[{"json":"error","values":[""],"absent":true}]}`, answering(400, "", body))
		if failed == nil || strings.Contains(failed.Error(), sentence) != named {
			t.Errorf("%s: %v", body, failed)
		}
	}
}

// TestNoTokenAtThePath: whoever mistyped token_path sees the names that there
// are, and nothing of their values.
func TestNoTokenAtThePath(t *testing.T) {
	for _, c := range []struct{ path, body, want string }{
		{"accessToken", `{"errcode":0,"errmsg":"ok","access_token":"TOKEN-1","expires_in":7200}`, "no token at accessToken; the answer has: errcode, errmsg, access_token, expires_in"},
		{"data.accessToken", `{"code":0,"data":{"access_token":"TOKEN-1","expire":7200}}`, "no token at data.accessToken; the answer has: data.access_token, data.expire"},
		{"body.token", `{"data":{"access_token":"TOKEN-1"}}`, "no token at body.token; the answer has: data"},
		{"t", `{"msg":"done","token":"TOKEN-1"}`, "no token at t; the answer has: msg, token"},
		{"t", `{"t":" \t","token":"TOKEN-1"}`, "no token at t: it is empty"},
		{"t", `{"t":null}`, "no token at t: it is empty"},
		{"t", `[{"token":"TOKEN-1"}]`, "no token at t"},
		{"t", `{"` + strings.Repeat("n", 65) + `":1,"ok_name":1,"0123456789":1,"TOKEN+/1":1,"` + strings.Repeat("abc", 11) + `":1}`, "no token at t; the answer has: ok_name"},
		{"t", `{"SECRET-a/b+c":1,"b":1}`, "no token at t; the answer has: " + realm.Mask + ", b"},
	} {
		_, failed := fetchFrom(t, `{"url":"@","token_path":"`+c.path+`","arguments":[{"name":"a","place":"header","value":"$appsecret"}]}`, answering(200, "", c.body))
		detail := ""
		if failed != nil {
			detail, _, _ = strings.Cut(failed.Detail, " (")
		}
		if detail != c.want || strings.Contains(failed.Error(), "TOKEN-1") {
			t.Errorf("%s in %s: %v", c.path, c.body, failed)
		}
	}
	var long strings.Builder
	for i := range 100 {
		long.WriteString(`,"name_` + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `":1`)
	}
	_, failed := fetchFrom(t, plainRealm, answering(200, "", `{"first":1`+long.String()+`}`))
	if n := strings.Count(failed.Error(), ", name_"); n != 19 {
		t.Errorf("%d names are shown beside the first: %v", n, failed)
	}
}

// TestTokenAloneIsNoForm: a token in the place of a form would become a name
// that is shown.
func TestTokenAloneIsNoForm(t *testing.T) {
	const config = `{"url":"@","method":"POST","content_type":"form","token_path":"access_token"}`
	for _, body := range []string{"TOKENabc", "callback(TOKENabc)"} {
		_, failed := fetchFrom(t, config, answering(200, "", body))
		if failed == nil || strings.Contains(failed.Error(), "TOKENabc") {
			t.Errorf("%v", failed)
		}
	}
}

// TestScriptCallIsNoToken: a refusal of QQ without blanks would pass for a
// token where the whole answer is one.
func TestScriptCallIsNoToken(t *testing.T) {
	_, failed := fetchFrom(t, `{"url":"@","content_type":"text"}`, answering(200, "", `callback({"error":7,"error_description":"no"});`))
	if failed == nil || failed.ProviderCode != "7" {
		t.Errorf("%+v", failed)
	}
	got, failed := fetchFrom(t, `{"url":"@","token_path":"t"}`, answering(200, "", `callback( {"t":"T"} ) ; `))
	if failed != nil || got.Token.Access != "T" {
		t.Errorf("%v", failed)
	}
}
