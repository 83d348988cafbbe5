// Package architecture_test holds the repository to its layout: which package
// may import which.
package architecture_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/caddy-tokens/caddy-tokens"
	caddy  = "github.com/caddyserver/caddy/v2"
)

// arrows lists, for every package, the packages of this module that it may
// import. A package that is missing here has no place yet: give it one.
var arrows = map[string][]string{
	"realm": {},

	"sources":       {"realm"},
	"sources/vault": {"realm", "internal/inject", "internal/outbound", "sources"},

	"deploy/image": {},

	"internal/console/pack": {},

	"internal/executable": {},
	"internal/expression": {},
	"internal/failpoint":  {},
	"internal/netguard":   {},
	"internal/outbound":   {"realm", "internal/netguard"},
	"internal/presets":    {"realm", "internal/executable", "internal/spelling"},
	"internal/problem":    {"realm"},
	"internal/reload":     {},
	"internal/shortcut":   {},
	"internal/spelling":   {},

	"tokenstore":            {"realm", "internal/failpoint"},
	"tokenstore/sqlstore":   {"realm", "tokenstore", "internal/failpoint"},
	"tokenstore/redisstore": {"realm", "tokenstore"},

	"internal/grant":     {"realm", "internal/expression", "internal/netguard", "internal/outbound", "internal/failpoint"},
	"internal/push":      {"realm"},
	"internal/catalog":   {"realm", "sources", "tokenstore", "internal/grant", "internal/presets", "internal/spelling"},
	"internal/caddyfile": {"realm", "internal/presets"},
	"internal/curl":      {"realm", "internal/presets"},
	"internal/quota":     {"realm", "tokenstore"},
	"internal/access":    {"realm", "tokenstore"},
	"internal/claim":     {"realm", "tokenstore", "internal/grant", "internal/quota"},
	"internal/broker":    {"realm", "tokenstore", "internal/grant", "internal/catalog", "internal/quota", "internal/claim", "internal/reload", "internal/failpoint"},
	"internal/inject":    {"realm", "internal/problem", "internal/netguard", "internal/outbound"},
	"internal/audit":     {"realm", "tokenstore"},
	"internal/session":   {"realm", "tokenstore"},
	"internal/console":   {},
	"internal/account":   {"realm", "tokenstore", "internal/grant"},
	"internal/doctor":    {"realm", "internal/grant", "internal/presets"},
	"internal/adminapi": {
		"realm", "tokenstore", "internal/grant", "internal/catalog", "internal/broker", "internal/account", "internal/audit", "internal/access", "internal/caddyfile", "internal/doctor", "internal/presets", "internal/problem",
		"internal/spelling",
	},
	"internal/apiclient": {"realm"},
	"internal/edge":      {"realm", "tokenstore", "internal/netguard", "internal/inject", "internal/outbound"},
	"internal/importer":  {"realm", "internal/apiclient"},

	"caddymodule": {
		"deploy/image", "realm", "sources", "tokenstore", "tokenstore/sqlstore", "tokenstore/redisstore", "internal/grant", "internal/catalog", "internal/broker",
		"internal/inject", "internal/access", "internal/audit", "internal/adminapi", "internal/apiclient", "internal/caddyfile", "internal/console", "internal/curl", "internal/doctor", "internal/edge", "internal/executable", "internal/importer", "internal/netguard", "internal/outbound", "internal/presets", "internal/problem", "internal/push", "internal/reload", "internal/session", "internal/shortcut", "internal/spelling",
	},
	"cmd/xcaddy-build": {"caddymodule", "internal/executable", "sources/vault"},

	"internal/presets/pages": {"realm", "internal/presets"},
	"":                       {"caddymodule"},

	// For tests only: nothing of the above imports them.
	"tokenstore/storetest":  {"realm", "tokenstore"},
	"internal/testserver":   {},
	"internal/testproxy":    {},
	"internal/faultproxy":   {},
	"internal/leaktest":     {},
	"internal/secretscan":   {},
	"internal/fakeprovider": {},
	"internal/architecture": {},
}

// mayUseCaddy are the packages that may depend on Caddy, even through others.
var mayUseCaddy = []string{"caddymodule", "cmd/xcaddy-build", "sources/vault", ""}

// stores is where the packages of the stores begin.
const stores = "tokenstore"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Name         string
	Imports      []string // direct, without tests
	Deps         []string // all
	TestImports  []string
	XTestImports []string
}

// short is the path below the module.
func (p pkg) short() string { return short(p.ImportPath) }

func short(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func list(t *testing.T) []pkg {
	t.Helper()
	look(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Name,Imports,Deps,TestImports,XTestImports", module+"/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// look reads every directory of the module. `go test` takes an old result from
// its cache unless something changed that the test itself has looked at; what
// go list reads does not count.
func look(t *testing.T) {
	t.Helper()
	const root = "../.."
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && at != root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportArrows(t *testing.T) {
	for _, p := range list(t) {
		allowed, known := arrows[p.short()]
		if !known {
			t.Errorf("%s has no place in the layout", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if own(imported) && !slices.Contains(allowed, short(imported)) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

func own(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// Tests may use the simulated provider, real servers and the other layers, but
// Caddy only where Caddy is the subject.
func TestOnlyTheCaddyModuleKnowsCaddy(t *testing.T) {
	isCaddy := func(importPath string) bool {
		return importPath == caddy || strings.HasPrefix(importPath, caddy+"/")
	}
	for _, p := range list(t) {
		if slices.Contains(mayUseCaddy, p.short()) {
			continue
		}
		for _, imports := range [][]string{p.Deps, p.TestImports, p.XTestImports} {
			if i := slices.IndexFunc(imports, isCaddy); i >= 0 {
				t.Errorf("%s depends on %s", p.ImportPath, imports[i])
			}
		}
	}
}

func TestStoresDoNotSpeakHTTP(t *testing.T) {
	for _, p := range list(t) {
		if !strings.HasPrefix(p.short(), stores) {
			continue
		}
		for _, imported := range p.Imports {
			if imported == "net/http" || strings.HasPrefix(imported, "net/http/") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

func TestGrantsNeverSeeAStore(t *testing.T) {
	for _, p := range list(t) {
		if p.short() != "internal/grant" {
			continue
		}
		for _, dep := range slices.Concat(p.Deps, p.TestImports, p.XTestImports) {
			if own(dep) && strings.HasPrefix(short(dep), stores) || dep == "database/sql" {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// TestDecisionsArePure: what is decided about calls to a provider depends on
// nothing but the state that the nodes share. So it cannot wait, lock, log, or
// look at a clock of its own.
func TestDecisionsArePure(t *testing.T) {
	pure := []string{"internal/claim", "internal/quota"}
	found := 0
	for _, p := range list(t) {
		if !slices.Contains(pure, p.short()) {
			continue
		}
		found++
		for _, i := range p.Imports {
			if slices.Contains([]string{"context", "sync", "sync/atomic", "os", "io", "log", "database/sql"}, i) || strings.HasPrefix(i, "go.uber.org/zap") {
				t.Errorf("%s imports %s", p.short(), i)
			}
		}
	}
	if found != len(pure) {
		t.Errorf("found %d of %d packages", found, len(pure))
	}
}

// A package is a noun that a newcomer would guess.
func TestPackageNames(t *testing.T) {
	for _, p := range list(t) {
		for _, name := range []string{p.Name, path.Base(p.ImportPath)} {
			switch strings.TrimSuffix(name, "_test") {
			case "util", "utils", "common", "helper", "helpers", "types", "misc", "base", "shared":
				t.Errorf("%s: a package called %s says nothing", p.ImportPath, name)
			}
		}
	}
}

// The list above is read by people: it must not name what is gone.
func TestArrowsNameOnlyWhatIsThere(t *testing.T) {
	there := make(map[string]bool)
	for _, p := range list(t) {
		there[p.short()] = true
	}
	for from, to := range arrows {
		for _, name := range append(to, from) {
			if !there[name] {
				t.Errorf("%q is listed, and there is no such package", name)
			}
		}
	}
}
