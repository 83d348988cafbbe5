package caddymodule

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/deploy/image"
)

// TestPrepareToServe: what a start in a container makes, says and leaves alone,
// whatever is mounted.
func TestPrepareToServe(t *testing.T) {
	const own = "# of the operator\n"
	for name, test := range map[string]struct {
		// prepare makes what is there before.
		prepare func(volume string) error
		wantErr string
		note    string
		config  string
	}{
		"an empty volume": {
			note: "wrote the default configuration into", config: string(image.Caddyfile),
		},
		"a Caddyfile of the operator's": {
			prepare: func(volume string) error { return os.WriteFile(filepath.Join(volume, "Caddyfile"), []byte(own), 0o600) },
			config:  own,
		},
		"a directory in the place of the Caddyfile": {
			prepare: func(volume string) error { return os.Mkdir(filepath.Join(volume, "Caddyfile"), 0o700) },
			wantErr: "Caddyfile is a directory",
		},
		"no directory can be made": {
			prepare: func(volume string) error { return os.WriteFile(filepath.Join(volume, "caddy"), nil, 0o600) },
			wantErr: "the default one cannot be written: the data directory cannot be used",
		},
		"no directory can be made, and a Caddyfile": {
			prepare: func(volume string) error {
				if err := os.WriteFile(filepath.Join(volume, "Caddyfile"), []byte(own), 0o600); err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(volume, "caddy"), nil, 0o600)
			},
			note: "warning: the data directory cannot be used", config: own,
		},
	} {
		t.Run(name, func(t *testing.T) {
			volume := t.TempDir()
			if test.prepare != nil {
				if err := test.prepare(volume); err != nil {
					t.Fatal(err)
				}
			}
			config := filepath.Join(volume, "Caddyfile")
			var notes bytes.Buffer
			err := prepareToServe(config, filepath.Join(volume, "caddy"), &notes)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("got %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil || !strings.Contains(notes.String(), test.note) || test.note == "" && notes.Len() > 0 {
				t.Errorf("%v, and it says %q", err, &notes)
			}
			if got, err := os.ReadFile(config); err != nil || string(got) != test.config {
				t.Errorf("the Caddyfile: %v\n%s", err, got)
			}
			if left, _ := filepath.Glob(filepath.Join(volume, "*", ".probe-*")); len(left) > 0 {
				t.Errorf("it leaves %q", left)
			}
		})
	}
}
