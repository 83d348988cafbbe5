package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// consolePaths are the pages of the console, read from its routes, so that none is
// forgotten. The ids are those of what fill makes.
func consolePaths(t *testing.T) []string {
	t.Helper()
	routes, err := os.ReadFile("../console/src/app/routes.tsx")
	if err != nil {
		t.Fatal(err)
	}
	ids := strings.NewReplacer(
		"/clients/:id", "/clients/billing", "/companies/:id", "/companies/91310000MA1FL0000X",
		":realm", "crm", ":key", "main", ":id", "crm",
	)
	var paths []string
	for _, path := range regexp.MustCompile(`path: '/([^']*)'`).FindAllStringSubmatch(string(routes), -1) {
		paths = append(paths, strings.TrimPrefix(ids.Replace("/"+path[1]), "/"))
	}
	if len(paths) < 12 {
		t.Fatalf("only %d pages were found in routes.tsx", len(paths))
	}
	return paths
}

// fill gives a node a realm at a provider, with a secret that has a live token and one
// that the provider will refuse, a company and a client.
func (c *consoleNode) fill(p *fakeprovider.Provider) (base string) {
	c.t.Helper()
	base = p.Start(c.t)
	c.post("/api/realm", map[string]any{"id": "crm", "comment": "Customers", "config": oauthConfig(base)})
	c.post("/api/secret", map[string]any{"realm": "crm", "key": "main", "fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01"}})
	c.post("/api/secret", map[string]any{"realm": "crm", "key": "wrong", "fields": map[string]any{"client_id": "app", "client_secret": "wrong-secret-01"}})
	c.post("/api/company", map[string]any{
		"taxpayer_id": "91310000MA1FL0000X", "company_name": "Example Trading", "accounts": map[string]any{"crm": "main"},
	})
	c.post("/api/client", map[string]any{"id": "billing", "rules": []any{
		map[string]any{"effect": "allow", "rights": []any{"use"}, "realms": []any{"crm"}, "methods": []any{"GET"}},
	}})
	c.node.token("crm", "main")
	return base
}

func oauthConfig(base string) map[string]any {
	return map[string]any{
		"api": base, "allow_http": true,
		"grant":  map[string]any{"name": "client_credentials", "token_url": base + "/oauth2/token"},
		"inject": []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
	}
}

func oauthProvider() *fakeprovider.Provider {
	return fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"app": "app-secret-01"}})
}

var han = regexp.MustCompile(`\p{Han}`)

// Every page is there in both languages, in the language that the browser asks for, and
// has no text whose translation is missing.
func TestConsolePages(t *testing.T) {
	c := launchConsole(t)
	c.fill(oauthProvider())
	for _, language := range []string{english, chinese} {
		t.Run(language, func(t *testing.T) {
			c := c.in(t)
			b := c.openConsole(language)
			b.wantLanguage(language)
			b.signIn(c.token)
			for _, path := range consolePaths(t) {
				b.visit(path)
				b.wantLanguage(language)
				if n := len(b.all("heading")); n == 0 {
					t.Errorf("%s: there is no heading", path)
				}
			}
			b.visit("no-such-page")
			b.wantLanguage(language)
			b.shows(b.say("common:not_found.title"))
		})
	}
}

// wantLanguage expects that the page is in a language as a whole.
func (b *tab) wantLanguage(language string) {
	b.t.Helper()
	path, text := b.path(), b.text()
	if got := value[string](b, "document.documentElement.lang"); got != language {
		b.t.Errorf("%s: the language is %s", path, got)
	}
	if language == english && han.MatchString(text) {
		b.t.Errorf("%s: there is Chinese in\n%s", path, text)
	}
	if language == chinese && !han.MatchString(text) {
		b.t.Errorf("%s: there is no Chinese in\n%s", path, text)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, texts := range b.words {
			if _, isKey := texts[line]; isKey && strings.Contains(line, ".") {
				b.t.Errorf("%s: the text %s is not translated", path, line)
			}
		}
	}
}
