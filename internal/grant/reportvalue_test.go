package grant

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reported makes a call against an answer and returns its report.
func reported(t *testing.T, config string, answer http.HandlerFunc) Report {
	t.Helper()
	p := newProvider(t, answer)
	var got Report
	_, _ = bind(t, realmOf(t, config, p.URL), map[string]string{"s": "CANARY-0123456789"}).Fetch(t.Context(), testClient(t), Request{Report: &got})
	leaks(t, got)
	return got
}

// A report says of every value whether it is there, of which type, and what else
// may be it; never the value.
func TestReportOfValues(t *testing.T) {
	long, short, hour := int64(400*24*3600*1000), int64(300_000), int64(3_600_000)
	const plain = `{"url":"@/t?s={secret.s}","token_path":"access_token","expires_in_path":"expires_in"}`
	for name, c := range map[string]struct {
		config, answer string
		found          []ReportValue
		expiry         *ReportExpiry
	}{
		"one level deeper": {
			plain, `{"code":0,"data":{"access_token":"TOKEN-0123456789","expire":7200,"refresh_token":"REFRESH-0"}}`,
			[]ReportValue{
				{What: "token", At: "access_token", Alike: []string{"data.access_token"}},
				{What: "expires_in", At: "expires_in", Alike: []string{"data.expire"}},
			},
			nil,
		},
		"an expiry that the realm does not read": {
			`{"url":"@/t?s={secret.s}","token_path":"t"}`, `{"t":"TOKEN-0123456789","expires_at":1795000000}`,
			[]ReportValue{{What: "token", At: "t", Found: true, Type: "string"}, {What: "expires_in", Alike: []string{"expires_at"}}},
			&ReportExpiry{From: "default", ExpiresIn: &short},
		},
		"an object in place of the token": {
			plain, `{"access_token":{"token":"TOKEN-0123456789"},"expires_in":"7200"}`,
			[]ReportValue{
				{What: "token", At: "access_token", Found: true, Type: "object", Alike: []string{"access_token.token"}},
				{What: "expires_in", At: "expires_in", Found: true, Type: "string"},
			},
			nil,
		},
		"seconds since 1970": {
			plain, `{"access_token":"TOKEN-0123456789","expires_in":1795356000}`,
			[]ReportValue{{What: "token", At: "access_token", Found: true, Type: "string"}, {What: "expires_in", At: "expires_in", Found: true, Type: "number"}},
			&ReportExpiry{From: "answer", ExpiresIn: &long, Unit: "s", OtherUnit: "epoch_s"},
		},
		"a date": {
			plain, `{"access_token":"TOKEN-0123456789","expires_in":"2026-11-22T14:00:00Z"}`,
			[]ReportValue{{What: "token", At: "access_token", Found: true, Type: "string"}, {What: "expires_in", At: "expires_in", Found: true, Type: "string"}},
			&ReportExpiry{From: "default", ExpiresIn: &short, Unit: "s", OtherUnit: "rfc3339"},
		},
		"a lifetime of the realm": {
			strings.Replace(plain, `"expires_in_path":"expires_in"`, `"lifetime":"1h","success":[{"json":"ok","values":[true]}]`, 1),
			`{"access_token":"TOKEN-0123456789","ok":true}`,
			[]ReportValue{{What: "token", At: "access_token", Found: true, Type: "string"}, {What: "success[0]", At: "ok", Found: true, Type: "boolean"}},
			&ReportExpiry{From: "lifetime", ExpiresIn: &hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := reported(t, c.config, answering(200, "application/json", c.answer))
			if diff := cmp.Diff(c.found, got.Found); diff != "" {
				t.Error("found:", diff)
			}
			if diff := cmp.Diff(c.expiry, got.Expiry); diff != "" {
				t.Error("expiry:", diff)
			}
		})
	}
}

// A report names the rule that decided.
func TestReportOfRule(t *testing.T) {
	zero, one := 0, 1
	const config = `{"url":"@/t?s={secret.s}","token_path":"t","success":[{"json":"ok","values":[true]},{"json":"n","values":[0],"absent":true}],
		"throttled_on":[{"json":"sub","values":["later"]}]}`
	for answer, want := range map[string]ReportRule{
		`{"ok":true,"n":5}`:          {List: "success", Index: &one, At: "n"},
		`{"ok":false,"sub":"later"}`: {List: "throttled_on", Index: &zero, At: "sub"},
		`{"errcode":40125}`:          {List: "built_in", At: "hopeless"},
		`{"errcode":45009}`:          {List: "built_in", At: "throttled"},
		`{"errcode":-1}`:             {List: "built_in", At: "retryable"},
	} {
		got := reported(t, config, answering(200, "application/json", answer))
		if got.Rule == nil {
			t.Errorf("%s: no rule", answer)
		} else if diff := cmp.Diff(want, *got.Rule); diff != "" {
			t.Errorf("%s: %s", answer, diff)
		}
	}
	got := reported(t, config, answering(403, "text/plain", "no"))
	if got.Rule == nil || *got.Rule != (ReportRule{List: "status"}) || got.Class != "hopeless" {
		t.Errorf("%+v of class %s", got.Rule, got.Class)
	}
}

// A body is told by what it is: many servers label a page as JSON.
func TestReportOfForm(t *testing.T) {
	const config = `{"url":"@/t?s={secret.s}","token_path":"t"}`
	for body, want := range map[string]Form{
		"":                                 FormEmpty,
		"\xef\xbb\xbf <!DOCTYPE HTML><p>x": FormHTML,
		"<?xml version='1.0'?><a/>":        FormXML,
		`{"t":"x"}`:                        FormJSON,
		"t=x&u=y":                          FormForm,
		"go away":                          FormText,
	} {
		if got := reported(t, config, answering(200, "application/json", body)); got.Response.Form != want {
			t.Errorf("%q is %s, want %s", body, got.Response.Form, want)
		}
	}
}

// A redirect leads to a host, which is told, and to a path, which may hold anything.
func TestReportOfRedirect(t *testing.T) {
	got := reported(t, `{"url":"@/t?s={secret.s}","token_path":"t"}`, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://login.example/CANARY-0123456789")
		w.WriteHeader(http.StatusFound)
	})
	if got.Response.Location != "login.example" || got.Kind != KindRedirect {
		t.Errorf("%+v", got)
	}
}

// The Date of an answer has no fractions of a second, and is made while the call
// is under way.
func TestReportOfClock(t *testing.T) {
	for date, want := range map[time.Duration]time.Duration{
		0: 0, -time.Second: 0, -3 * time.Second: -2 * time.Second, 90 * time.Second: 90 * time.Second,
	} {
		got := reported(t, `{"url":"@/t?s={secret.s}","token_path":"t"}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", noon.Add(date).UTC().Format(http.TimeFormat))
		})
		if skew := got.Response.ClockSkewMS; skew == nil || *skew != want.Milliseconds() {
			t.Errorf("%v: %v", date, skew)
		}
	}
}

// Fields that look mistyped are named, and nothing of their values is.
func TestFieldFaults(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nCANARY\n-----END KEY-----\n"
	fields := map[string]string{
		"a_blank": "CANARY-1 ", "b_wide": "\u3000CANARY-2", "c_unseen": "CANARY-3\u200b", "d_break": "CANARY-4\n", "e_inside": "CANARY\r\n-5",
		"f_pem": pem, "g_flat": strings.ReplaceAll(pem, "\n", " "), "h_escaped": strings.ReplaceAll(pem, "\n", `\n`),
		"i_quoted": `"CANARY-6"`, "j_env": "{env.SECRET}", "k_secret": "wx0123456789abcdef", "l_id": "wx0123456789abcde0",
		"m_one": "CANARY-same-value", "n_two": "CANARY-same-value", "o_good": "CANARY-7", "p_empty": "",
	}
	b := bind(t, realmOf(t, `{"url":"https://x.example/t","token_path":"t"}`, ""), fields)
	want := []FieldFault{
		{"a_blank", MistakeBlank, ""},
		{"b_wide", MistakeBlank, ""},
		{"c_unseen", MistakeBlank, ""},
		{"d_break", MistakeLineBreak, ""},
		{"e_inside", MistakeLineBreak, ""},
		{"g_flat", MistakePEMFlat, ""},
		{"h_escaped", MistakePEMEscaped, ""},
		{"i_quoted", MistakeQuoted, ""},
		{"j_env", MistakePlaceholder, ""},
		{"k_secret", MistakeID, ""},
		{"n_two", MistakeSame, "m_one"},
	}
	if diff := cmp.Diff(want, b.FieldFaults()); diff != "" {
		t.Error(diff)
	}
}
