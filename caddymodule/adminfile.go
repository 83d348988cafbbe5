package caddymodule

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// adminFileName is the name of the file with the admin token.
	adminFileName = "tokens.admin"
	// minAdminToken is the least length of what the file holds: somebody may
	// have written a password into it that can be guessed.
	minAdminToken = 32
)

// defaultAdminPath is where the file is with the default storage, and with one
// that has no key file.
func defaultAdminPath() string { return filepath.Join(caddy.AppDataDir(), adminFileName) }

// adminFile is the file with the admin token. It is read when a configuration is
// loaded; the first start makes it.
type adminFile struct {
	path string
	// token is nil where the file cannot be used, or is not there yet.
	token atomic.Pointer[adminToken]
	// told is the token whose place was logged.
	told atomic.Pointer[adminToken]
}

// newAdminFile reads the file, if there is one: requests may come before the
// app is started. It writes nothing, since `caddy validate` comes here too.
func newAdminFile(path string) *adminFile {
	f := &adminFile{path: path}
	_ = f.load() // start tries again, and logs why it cannot
	return f
}

// start reads the file, and makes it where there is none. It logs where the file
// is, once for each token, and never the token. Without one the start goes on:
// there are other ways into the API.
func (f *adminFile) start(log *zap.Logger) {
	err := f.load()
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.create(); errors.Is(err, fs.ErrExist) { // another process was quicker
			err = f.load()
		}
	}
	if err != nil {
		f.token.Store(nil)
		log.Warn("there is no admin token, because its file cannot be used", zap.String("file", f.path), zap.Error(err))
		return
	}
	token := f.token.Load()
	if before := f.told.Swap(token); before == nil || *before != *token {
		log.Info("the admin token of the HTTP API is in a file", zap.String("file", f.path))
	}
}

// load takes the token from the file. One that cannot be used is none.
func (f *adminFile) load() error {
	text, err := tokenstore.ReadPrivateFile(f.path)
	if err == nil {
		text, err = parseAdminFile(text)
	}
	if err != nil {
		f.token.Store(nil)
		return err
	}
	f.token.Store(newAdminToken(realm.Hidden(text)))
	return nil
}

// create writes a new token of 256 random bits. In hex it never looks like a
// client's key. It counts before the file is there: whoever reads it may use it.
func (f *adminFile) create() error {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	text := hex.EncodeToString(raw[:])
	f.token.Store(newAdminToken(realm.Hidden(text)))
	return tokenstore.CreatePrivateFile(f.path, text+"\n")
}

// parseAdminFile is the token that the file holds. The error does not quote it.
func parseAdminFile(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(strings.Fields(text)) != 1 || len(text) < minAdminToken {
		return "", fmt.Errorf("it has to hold one word of at least %d characters", minAdminToken)
	}
	return text, nil
}
