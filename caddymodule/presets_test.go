package caddymodule

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// goldenFields are the fields that the golden file of a preset has.
func goldenFields(t *testing.T, name string) map[string]string {
	t.Helper()
	const testdata = "../internal/presets/testdata"
	content, err := os.ReadFile(filepath.Join(testdata, "golden", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Secret, Shared map[string]string }
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	fields := maps.Clone(file.Shared)
	if fields == nil {
		fields = make(map[string]string)
	}
	maps.Copy(fields, file.Secret)
	for field, value := range fields {
		if key, ok := strings.CutPrefix(value, "@"); ok {
			pem, err := os.ReadFile(filepath.Join(testdata, "keys", key))
			if err != nil {
				t.Fatal(err)
			}
			fields[field] = string(pem)
		}
	}
	return fields
}

// The name of a preset and the fields of a secret are all that a user writes: it
// adapts, every program compiles, and the secret fits.
func TestPresetsNeedOnlyASecret(t *testing.T) {
	for _, name := range presets.Names() {
		t.Run(name, func(t *testing.T) {
			validates(t, realmOfPreset(t, "x", name), "")
		})
	}
}

// realmOfPreset is a realm in a Caddyfile, behind those whose tokens it reads.
func realmOfPreset(t *testing.T, id, name string) (text string) {
	t.Helper()
	p, err := presets.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range p.Parents() {
		text += plainRealm(t, parent.Name, parent.Name)
	}
	return text + plainRealm(t, id, name)
}

// plainRealm is a realm of a preset, without those whose tokens it reads.
func plainRealm(t *testing.T, id, name string) string {
	t.Helper()
	text := "realm " + id + " {\npreset " + name + "\nsecret main {\n"
	fields := goldenFields(t, name)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		text += field + " `" + fields[field] + "`\n"
	}
	return text + "}\n}\n"
}

// validates holds that what stands in a tokens block, and in a site, is right: it
// adapts without a warning, every program compiles, and the secrets fit.
func validates(t *testing.T, text, site string) {
	t.Helper()
	i := newInstance(t)
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(i.caddyfile(text, site+"token_gateway")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "caddy fmt") {
			t.Errorf("warning: %s", w.Message)
		}
	}
	var cfg caddy.Config
	if err := json.Unmarshal(adapted, &cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Error(err)
	}
}

var (
	pageBlock = regexp.MustCompile("(?ms)^```caddyfile tokens\n(.*?)^```$")
	pageSite  = regexp.MustCompile("(?ms)^```caddyfile site\n(.*?)^```$")
	pageLine  = regexp.MustCompile(`(?m)^realm (\S+) \{$|^\t+(\S+) \{env\.(\w+)\}$`)
)

// What the pages of the catalogue tell people to write works as it stands.
func TestPagesOfPresetsWork(t *testing.T) {
	for _, folder := range []string{"../docs/providers", "../docs/zh-CN/providers"} {
		for _, name := range presets.Names() {
			t.Run(filepath.Base(filepath.Dir(folder))+"/"+name, func(t *testing.T) {
				page, err := os.ReadFile(filepath.Join(folder, name+".md"))
				if err != nil {
					t.Fatal(err)
				}
				found := pageBlock.FindAllSubmatch(page, -1)
				if len(found) != 1 {
					t.Fatalf("the page has %d blocks for tokens", len(found))
				}
				text := string(found[0][1])
				if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
					t.Errorf("not as caddy fmt writes it:\n%s", text)
				}
				var fields map[string]string
				for _, m := range pageLine.FindAllStringSubmatch(text, -1) {
					if m[1] != "" {
						fields = goldenFields(t, m[1])
						continue
					}
					t.Setenv(m[3], fields[m[2]])
				}
				var site string
				for _, m := range pageSite.FindAllSubmatch(page, -1) {
					site += string(m[1])
				}
				validates(t, text, site)
			})
		}
	}
}
