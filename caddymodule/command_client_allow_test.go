package caddymodule

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestClientAllow: what the advice on a missing right names takes no rule away.
func TestClientAllow(t *testing.T) {
	v := newClientVerbs(t, "", "")
	key, _ := v.key("client", "add", "app", "--allow", "use crm")
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, key+"\n")
	v.wantErr("client allow ID 'admin_read *'", "client", "list", "--api-token-file", file)
	v.wantErr("client allow ID 'flush crm'", "refresh", "crm", "main", "--api-token-file", file)
	v.wantErr("client allow ID 'admin_read crm'", "secret", "list", "--realm", "crm", "--api-token-file", file)
	v.ok("client", "allow", "app", "admin_read *")
	stdout, _ := v.ok("client", "list")
	if !strings.Contains(stdout, "allow use crm; allow admin_read *") {
		t.Errorf("the rules: %s", stdout)
	}
	v.ok("client", "list", "--api-token-file", file)
	v.wantErr("the rule takes rights", "client", "allow", "app", "use")
	v.wantErr("no such client", "client", "allow", "other", "use crm")
}
