package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const top = "../../.."

// The pages are what the presets say now, and nothing else is in their folders.
func TestPagesAreCurrent(t *testing.T) {
	all := files()
	for path, want := range all {
		got, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(path))) // #nosec G304 -- our own pages
		if err != nil || string(got) != want {
			t.Errorf("%s is not current (%v): run `go run ./internal/presets/pages` at the top of the repository", path, err)
		}
	}
	for _, l := range languages {
		found, err := os.ReadDir(filepath.Join(top, l.folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if _, ok := all[l.folder+"/"+f.Name()]; !ok {
				t.Errorf("%s/%s belongs to no preset: run `go run ./internal/presets/pages` at the top of the repository", l.folder, f.Name())
			}
		}
	}
}

// A preset that no page can show is told of: its page would be missing.
func TestCheckCategory(t *testing.T) {
	if err := readable(); err != nil {
		t.Error(err)
	}
	const want = `preset x: category "media" is not known; there are messaging, commerce, `
	if err := checkCategory(presets.Preset{Name: "x", Category: "media"}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// write makes the pages, and removes those whose preset is gone.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "docs", "providers", "gone.md")
	if err := os.MkdirAll(filepath.Dir(stale), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := write(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the page of a preset that is gone: %v", err)
	}
	for path, want := range files() {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want { // #nosec G304 -- a temporary folder
			t.Errorf("%s: %v", path, err)
		}
	}
}

var unfilled = regexp.MustCompile(`%!|%[sd\[]`)

// No page has a word that was not filled in, or one of the other language.
func TestPagesAreWhole(t *testing.T) {
	han := regexp.MustCompile(`\p{Han}`)
	for path, text := range files() {
		if found := unfilled.FindString(text); found != "" {
			t.Errorf("%s has %q", path, found)
		}
		if strings.HasPrefix(path, languages[0].folder) && han.MatchString(strings.ReplaceAll(text, english.inOther, "")) {
			t.Errorf("%s is not English", path)
		}
	}
}

// Both languages have words for all that a config may say.
func TestWordsAreWhole(t *testing.T) {
	for _, l := range languages {
		for _, place := range []string{"url", "header", "body", "basic", "path", "cookie"} {
			if l.places([]realm.Injection{{Place: place, Name: "x"}})[0] == "" {
				t.Errorf("%s: no word for the place %s", l.code, place)
			}
		}
		for _, name := range []string{realm.SemanticsSame, realm.SemanticsRotate, realm.SemanticsParallel} {
			if l.w.semantics[name] == "" {
				t.Errorf("%s: no word for %s", l.code, name)
			}
		}
		for _, name := range []string{realm.RefreshStable, realm.RefreshGrace, realm.RefreshStrict, realm.RefreshFamily} {
			if l.w.refresh[name] == "" {
				t.Errorf("%s: no word for %s", l.code, name)
			}
		}
		if len(l.w.categories) != 7 {
			t.Errorf("%s: %d categories", l.code, len(l.w.categories))
		}
	}
}

func TestPlacesAreThoseOfTheToken(t *testing.T) {
	got := languages[0].places([]realm.Injection{
		{Place: "header", Name: "Authorization", Value: "Bearer {token}"},
		{Place: "url", Name: "open_id", Value: "{answer.open_id}"},
		{Place: "url", Name: "access_token"},
	})
	want := []string{"the header `Authorization`", "the query parameter `access_token`"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A page says how a ticket arrives.
func TestTicketsOnPages(t *testing.T) {
	p, err := presets.Get("wechat")
	if err != nil {
		t.Fatal(err)
	}
	p.Fields = append(p.Fields, presets.Field{Name: "ticket", Pushed: true})
	brings := map[string]string{"en": "fields-that-somebody-brings", "zh": "由别处送来的字段"}
	for _, l := range languages {
		for format, want := range map[string]string{
			"":               "](../realms.md#" + brings[l.code] + ")",
			realm.PushFeishu: "](../caddyfile.md#token_push)",
		} {
			p.Config.Push = format
			line := "\n\n```sh\n" + p.PushCurl("ticket") + "\n```\n"
			if format != "" {
				line = "\n\n```caddyfile site\n" + p.TokenPush() + "```\n"
			}
			page := l.page(p)
			if !strings.Contains(page, want) || !strings.Contains(page, "`ticket`") || !strings.Contains(page, line) || unfilled.MatchString(page) {
				t.Errorf("%s, push %q: %s", l.code, format, page)
			}
		}
	}
}

func TestFacts(t *testing.T) {
	en, zh := languages[0], languages[1]
	dead := realm.Rule{Status: []int{400, 401}, JSON: "code", Values: []realm.Scalar{realm.ScalarOf("InvalidAuthentication")}}
	got := []string{
		en.rule(dead), zh.rule(dead), en.rule(realm.Rule{Status: []int{401}}),
		en.duration(36 * time.Hour), en.duration(24 * time.Hour), zh.duration(5 * time.Minute), en.duration(1500 * time.Millisecond),
		grouped(999), grouped(1000), grouped(1234567),
	}
	want := []string{
		"HTTP 400 or 401 and `code` is `InvalidAuthentication`", "HTTP 400 或 401，且 `code` 为 `InvalidAuthentication`", "HTTP 401",
		"36 hours", "1 day", "5 分钟", "1.5s",
		"999", "1,000", "1,234,567",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// A grant knows where the refresh token is. The pages of such presets told nothing
// of what becomes of it, because the config has no path.
func TestFactsOfAGrantTellOfItsRefreshTokens(t *testing.T) {
	p := presets.Preset{Config: realm.Config{Grant: &realm.Grant{Name: realm.GrantRefreshToken}, RefreshSemantics: realm.RefreshStrict}}
	for _, l := range languages {
		if got := l.facts(p); !slices.Contains(got, l.w.refresh[realm.RefreshStrict]) {
			t.Errorf("%s: %q", l.code, got)
		}
	}
}
