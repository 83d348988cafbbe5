package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// apiLong is what the help of every verb that calls the API says of these flags.
const apiLong = `
The API is the one at --api or TOKENS_API, else that of the instance that runs on
this machine: its start writes the file tokens.api into Caddy's data directory.

The API asks for its admin token, or the key of a client with the right. It is
what the file of --api-token-file or TOKENS_API_TOKEN holds. Where neither is
given, and the API is on this machine, it is what the file tokens.admin of the
instance holds, if it can be read. Where basic_auth stands in front of the API
instead, TOKENS_API_USER and TOKENS_API_PASSWORD hold a user and a password. No
secret is taken from the command line, which other users of the machine can read.`

// apiFlags say which running instance a verb of `caddy tokens` works with, and
// what its API is shown. Call AddFlags when the command is made, and connect
// when it runs.
type apiFlags struct {
	options   apiclient.Options
	tokenFile string
	// needs is the right that a verb needs, for whoever lacks it.
	needs string
}

// AddFlags adds the flags to those of a verb.
func (f *apiFlags) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.options.Base, "api", "", "the address of the site that has token_admin (default: TOKENS_API, or the instance on this machine)")
	flags.StringVar(&f.tokenFile, "api-token-file", "", "a file that holds its admin token or a client's key (default: TOKENS_API_TOKEN, or tokens.admin)")
}

// complete reads what is not on the command line. It warns of what is probably
// not meant.
func (f *apiFlags) complete(warnings io.Writer) (err error) {
	found, isFound := f.find(context.Background())
	if f.options.Token, err = fromFile(f.tokenFile, "TOKENS_API_TOKEN"); err != nil {
		return fmt.Errorf("--api-token-file: %w", err)
	}
	f.options.User, f.options.Password = os.Getenv("TOKENS_API_USER"), realm.Hidden(os.Getenv("TOKENS_API_PASSWORD"))
	if f.options.Token == "" && f.options.User == "" && f.options.Password == "" && f.isHere() {
		if isFound {
			f.options.Token, err = found.adminToken(found.owner)
		} else {
			f.options.Token, err = readDefaultToken(defaultAdminPath())
		}
		if err != nil {
			_, _ = fmt.Fprintf(warnings, "no admin token: %v\n", err)
		}
	}
	return nil
}

// find completes the address. It also returns the instance of this machine that
// has it.
func (f *apiFlags) find(ctx context.Context) (running, bool) {
	f.options.Base = cmp.Or(f.options.Base, os.Getenv("TOKENS_API"))
	if f.options.Base != "" && !f.isHere() {
		return running{}, false
	}
	found, site, ok := findRunning(ctx)
	switch {
	case f.options.Base != "":
		return found, ok && found.serves(f.options.Base)
	case !ok:
		f.options.Base = apiclient.DefaultBase
		return running{}, false
	}
	f.options.Base = site.URL
	f.options.Network, f.options.Address = site.dialed()
	f.options.Roots, _ = os.ReadFile(found.RootFile) // there may be none
	return found, true
}

// isHere reports whether the API is on this machine. No other one knows the
// token that lies here, and it must not learn it.
func (f *apiFlags) isHere() bool {
	u, err := url.Parse(f.options.Base)
	return f.options.Address != "" || err == nil && localHost(u.Host)
}

// readDefaultToken is what the file holds that the start of an instance wrote.
func readDefaultToken(path string) (realm.Hidden, error) {
	return hiddenUnlessAbsent(tokenstore.ReadPrivateFile(path))
}

// hiddenUnlessAbsent is the admin token that a file holds. That there is none, or
// none of this user's, is no error: the API may ask for no token.
func hiddenUnlessAbsent(text string, err error) (realm.Hidden, error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err == nil {
		text, err = parseAdminFile(text)
	}
	if err != nil {
		return "", err
	}
	return realm.Hidden(text), nil
}

// connect reads what is not on the command line, and makes the client: its Do
// and JSON send requests. Warnings go to the writer, commonly standard error.
func (f *apiFlags) connect(warnings io.Writer) (*apiclient.Client, error) {
	if err := f.complete(warnings); err != nil {
		return nil, err
	}
	c, err := apiclient.New(f.options)
	if err != nil {
		return nil, err
	}
	if c.IsInClear() {
		_, _ = fmt.Fprintf(warnings, "secrets are sent to %s in clear: use https where others could listen\n", c.Host())
	}
	return c, nil
}

// fromFile returns what a file holds or, where none is named, a variable.
func fromFile(path, variable string) (realm.Hidden, error) {
	if path == "" {
		return realm.Hidden(os.Getenv(variable)), nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	content, err := readFile(path)
	return realm.Hidden(content), err
}
