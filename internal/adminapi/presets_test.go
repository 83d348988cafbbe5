package adminapi

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

func TestGetPreset(t *testing.T) {
	_, c := newPuppet(t)
	for _, name := range presets.Names() {
		got := c.get("/api/preset/" + name)
		if got.status != http.StatusOK || got.document()["name"] != name {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		// Every list is there, be it empty.
		for _, member := range []string{"fields", "docs", "errors", "unverified"} {
			if _, ok := got.document()[member].([]any); !ok {
				t.Errorf("%s: %s is %v", name, member, got.document()[member])
			}
		}
	}
	got := c.get("/api/preset/jd").document()
	if title, _ := got["title"].(map[string]any); title["zh"] != "京东开放平台（JOS、开普勒、物流）" {
		t.Errorf("the title is %v", title)
	}
	for _, name := range []string{"nobody", "../data/jd", "jd.json", "JD", "."} {
		c.get("/api/preset/"+url.PathEscape(name)).refused(http.StatusNotFound, "not_found", "")
	}
	const near = "no preset has this name; did you mean 'wechat'?; GET /api/preset lists what there is"
	if detail := c.get("/api/preset/wecaht").document()["detail"]; detail != near {
		t.Errorf("a slip is answered with %q", detail)
	}
}

func TestListPresets(t *testing.T) {
	_, c := newPuppet(t)
	page := func(query string) (names []string, total float64) {
		t.Helper()
		data, _ := c.get("/api/preset?" + query).document()["data"].(map[string]any)
		items, _ := data["list"].([]any)
		for _, item := range items {
			names = append(names, item.(map[string]any)["name"].(string))
		}
		total, _ = data["total"].(float64)
		return names, total
	}
	all := presets.Names()
	if names, total := page("pageSize=2&page=2"); len(names) != 2 || names[0] != all[2] || int(total) != len(all) {
		t.Errorf("page 2: %v of %v", names, total)
	}
	if names, total := page("page=1000"); len(names) != 0 || int(total) != len(all) {
		t.Errorf("a page behind the end: %v of %v", names, total)
	}
	for _, keyword := range []string{"suning", "SUNING", "%E8%8B%8F%E5%AE%81"} {
		if names, total := page("keyword=" + keyword); len(names) != 1 || names[0] != "suning" || total != 1 {
			t.Errorf("%s: %v of %v", keyword, names, total)
		}
	}
}
