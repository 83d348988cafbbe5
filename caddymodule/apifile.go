package caddymodule

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// apiFileName is the name of the file that tells the commands where the API of a
// running instance is. It lies in Caddy's data directory.
const apiFileName = "tokens.api"

// maxAPIFile bounds what is read of it.
const maxAPIFile = 64 << 10

// apiNote is what the file holds. Nothing in it is confidential.
type apiNote struct {
	// ID tells the notes of several instances apart: each removes its own.
	ID    string    `json:"id"`
	PID   int       `json:"pid"`
	Sites []apiSite `json:"sites"`
	// AdminFile is the file of the admin token.
	AdminFile string `json:"admin_file"`
	// RootFile has the certificate of Caddy's own authority, for sites with
	// "tls internal".
	RootFile string `json:"root_file"`
}

// apiFile keeps the file up to date while an instance runs.
type apiFile struct {
	id string

	mu   sync.Mutex
	path string // "" until it was written
}

func newAPIFile() *apiFile { return &apiFile{id: rand.Text()} }

// write says where the API of a configuration is. The file is replaced as a
// whole. That it cannot be written takes nothing from the instance: commands are
// then told the address.
func (f *apiFile) write(ctx caddy.Context, adminPath string, log *zap.Logger) {
	httpApp, err := ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	data := caddy.AppDataDir()
	note := apiNote{
		ID: f.id, PID: os.Getpid(), Sites: apiSites(httpApp.(*caddyhttp.App)), AdminFile: adminPath,
		RootFile: filepath.Join(data, "pki", "authorities", "local", "root.crt"),
	}
	text, err := json.Marshal(note)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.path = filepath.Join(data, apiFileName)
		err = replaceFile(f.path, text)
	}
	if err != nil {
		log.Warn("commands will not find this instance by themselves", zap.Error(err))
	}
}

// replaceFile writes a file that everybody may read, as a whole.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".api-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(text)
	if err := errors.Join(err, temporary.Chmod(0o644), temporary.Close()); err != nil { // #nosec G302 -- nothing in it is confidential
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// remove takes the file away, unless another instance has written its own.
func (f *apiFile) remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return
	}
	if note, _, err := readAPIFile(f.path); err == nil && note.ID == f.id {
		_ = os.Remove(f.path)
	}
}

// readAPIFile reads what an instance wrote, and who owns the file.
func readAPIFile(path string) (note apiNote, owner fileOwner, err error) {
	f, err := os.Open(path) // #nosec G304 -- one of a few fixed places
	if err != nil {
		return note, owner, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return note, owner, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxAPIFile))
	if err != nil {
		return note, owner, err
	}
	return note, ownerOf(info), json.Unmarshal(text, &note)
}

// adminToken is the admin token of the instance that wrote the note. Root may read
// every file, and the note of another user must not make root send one that this
// user cannot read: the token's file has to be the same user's. The open file is
// looked at, because a name can be given to another file in between.
func (n apiNote) adminToken(owner fileOwner) (realm.Hidden, error) {
	if info, err := os.Lstat(n.AdminFile); err != nil || !info.Mode().IsRegular() {
		return "", nil // no file of ours
	}
	f, err := os.Open(n.AdminFile)
	if err != nil {
		return hiddenUnlessAbsent("", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if ownerOf(info) != owner {
		return "", errors.New(n.AdminFile + " belongs to another user than the instance that names it")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s may be used by others (mode %04o): chmod 600 it", n.AdminFile, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxAPIFile))
	return hiddenUnlessAbsent(string(text), err)
}
