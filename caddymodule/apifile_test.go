package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// loadSites loads a configuration with these sites and nothing else.
func (i *instance) loadSites(sites string) {
	i.t.Helper()
	config := fmt.Sprintf("{\n\tadmin off\n\tskip_install_trust\n\thttp_port %s\n\tstorage file_system %s/caddy\n\tlog {\n\t\toutput file %[2]s/log\n\t}\n}\n%s",
		portOf(freeAddress(i.t)), i.dir, sites)
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
	if err == nil {
		err = caddy.Load(cfg, true)
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// portOf is the port of host:port.
func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// TestVerbsFindTheInstance: on the machine of an instance nobody says where its
// API is, however its site is reached, nor what it asks for.
func TestVerbsFindTheInstance(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	port, other := portOf(i.host), portOf(i.api)
	for name, c := range map[string]struct{ sites, base string }{
		"any name":    {":" + port + " {\n\tbind 127.0.0.1\n\ttoken_admin\n}", "http://localhost:" + port},
		"a name":      {"http://tokens.example.com:" + port + " {\n\ttoken_admin\n}", "http://tokens.example.com:" + port},
		"an address":  {"http://127.0.0.1:" + port + " {\n\ttoken_admin\n}", "http://127.0.0.1:" + port},
		"handle_path": {":" + port + " {\n\thandle_path /a/* {\n\t\thandle_path /b/* {\n\t\t\ttoken_admin\n\t\t}\n\t}\n}", "http://localhost:" + port + "/a/b"},
		"uri":         {":" + port + " {\n\troute /x/* {\n\t\turi strip_prefix /x\n\t\ttoken_admin\n\t}\n}", "http://localhost:" + port + "/x"},
		"handle":      {":" + port + " {\n\thandle /api/* {\n\t\ttoken_admin\n\t}\n}", "http://localhost:" + port},
		"TLS": {
			"https://tokens.example.com:" + port + " {\n\ttls internal\n\ttoken_admin\n}", "https://tokens.example.com:" + port,
		},
		"a local one first": {
			"http://a.example.com:" + port + " {\n\ttoken_admin\n}\n:" + other + " {\n\ttoken_admin\n}", "http://localhost:" + other,
		},
		"a socket": {"http://tokens.example.com {\n\tbind unix/" + i.dir + "/sock\n\ttoken_admin\n}", "http://tokens.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			i.t = t
			i.loadSites(c.sites)
			f := flagsOf(t)
			var warnings strings.Builder
			client, err := f.connect(&warnings)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var status struct{ Stores []any }
			waitFor(t, "an answer", func() bool { return client.JSON(t.Context(), http.MethodGet, "/api/status", nil, &status) == nil })
			if client.Base() != c.base || len(status.Stores) != 1 || warnings.Len() > 0 {
				t.Errorf("%s, want %s: %v %s", client.Base(), c.base, status, &warnings)
			}
		})
	}
	i.t = t
	file := filepath.Join(i.dir, "caddy", apiFileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file stays when the instance has ended")
	}

	// One that was killed leaves its file behind.
	writeFile(t, file, string(text))
	f := flagsOf(t)
	if client, err := f.connect(new(strings.Builder)); err != nil || client.Base() != "http://localhost:8081" {
		t.Errorf("%v: a file is believed that names nobody", err)
	}
	t.Setenv("TOKENS_API", "http://10.0.0.1:99/x")
	f = flagsOf(t)
	if client, err := f.connect(new(strings.Builder)); err != nil || client.Base() != "http://10.0.0.1:99/x" || client.HasCredential() {
		t.Errorf("%v: TOKENS_API does not count, or a token goes there", err)
	}
}

// TestAPIFileOfAnother: the file tells root where a service is; it does not make
// root send a file that the service itself could not read.
func TestAPIFileOfAnother(t *testing.T) {
	dir := t.TempDir()
	admin, link := filepath.Join(dir, adminFileName), filepath.Join(dir, "link")
	writeFile(t, admin, canary+"-0123456789abcdef0123456789abcdef\n")
	if err := os.Symlink(admin, link); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(admin)
	if err != nil {
		t.Fatal(err)
	}
	owner := ownerOf(info)
	if token, err := (apiNote{AdminFile: admin}).adminToken(owner); err != nil || !strings.HasPrefix(token.Reveal(), canary) {
		t.Errorf("the owner's: %v", err)
	}
	if token, err := (apiNote{AdminFile: admin}).adminToken(owner + 1); err == nil || token != "" || leaks(err.Error()) != nil {
		t.Errorf("another user's: %v", err)
	}
	if token, err := (apiNote{AdminFile: link}).adminToken(owner); err != nil || token != "" {
		t.Errorf("a link: %v", err)
	}
	if err := os.Chmod(admin, 0o644); err != nil { // #nosec G302 -- what is tested
		t.Fatal(err)
	}
	if token, err := (apiNote{AdminFile: admin}).adminToken(owner); err == nil || token != "" || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file for everybody: %v", err)
	}
}

// TestAPIFileIsItsOwn: an instance that ends leaves the file of one that started
// after it.
func TestAPIFileIsItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), apiFileName)
	first, second := newAPIFile(), newAPIFile()
	first.path, second.path = path, path
	text, err := json.Marshal(apiNote{ID: second.id})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(text))
	first.remove()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file of another one was removed: %v", err)
	}
	second.remove()
	if _, err := os.Stat(path); err == nil {
		t.Error("its own file stays")
	}
}
