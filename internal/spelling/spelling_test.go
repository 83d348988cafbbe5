package spelling

import (
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"jd", "jd_vop", "wechat", "wechat_jsapi", "wecom", "wecom_corp", "github_app", "feishu"}
	for name, want := range map[string]string{
		"wecaht":                          "wechat",
		"wechats":                         "wechat",
		"wecom_crop":                      "wecom_corp",
		"github":                          "github_app",
		"feishu_app":                      "feishu",
		"wecha":                           "wechat",
		"jb":                              "jd",
		"xx":                              "", // another word, and as short as a name
		"nobody":                          "",
		"wec":                             "", // a beginning of several, and short
		"":                                "",
		"salesforce9":                     "",
		strings.Repeat("w", 64) + "echat": "", // a text of any length costs nothing
	} {
		if want != "" {
			want = "; did you mean '" + want + "'?"
		}
		if got := DidYouMean(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("x", maxName+1)
	if got := DidYouMean(long, []string{long + "y"}); got != "" {
		t.Errorf("a name of %d bytes was looked for: %q", len(long), got)
	}
}
