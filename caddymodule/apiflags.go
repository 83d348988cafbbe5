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
)

// apiLong is what the help of every verb that calls the API says of these flags.
const apiLong = `
The API is the one at --api or TOKENS_API, else that of the instance that runs on
this machine: its start writes the file tokens.api into Caddy's data directory.

The API asks for its admin token, or the key of a client with the right. It is
what the file of --api-token-file holds, or the value of TOKENS_API_TOKEN (the
token itself, no path). Where neither is given, the instance that tokens.api names
is shown what its file tokens.admin holds, if that can be read; an API at any
other address is shown nothing. Where basic_auth stands in front of the API
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
	flags.StringVar(&f.tokenFile, "api-token-file", "", "a file that holds its admin token or a client's key (default: the value of TOKENS_API_TOKEN, or tokens.admin)")
}

// complete reads what is not on the command line. It warns of what is probably
// not meant.
func (f *apiFlags) complete(warnings io.Writer) (err error) {
	found, isFound := f.find(context.Background())
	if f.options.Token, err = fromFile(f.tokenFile, "TOKENS_API_TOKEN"); err != nil {
		return fmt.Errorf("--api-token-file: %w", err)
	}
	f.options.User, f.options.Password = os.Getenv("TOKENS_API_USER"), realm.Hidden(os.Getenv("TOKENS_API_PASSWORD"))
	// Nobody else learns the admin token: while the instance is down, any user of
	// this machine can listen at its address.
	if isFound && f.options.Token == "" && f.options.User == "" && f.options.Password == "" {
		if f.options.Token, err = found.adminToken(found.owner); err != nil {
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
		if ok {
			site, ok = found.siteAt(f.options.Base)
		}
		if ok { // another user can listen at another loopback address with the same port
			f.options.Network, f.options.Address = site.dialed()
		}
		return found, ok
	case !ok:
		f.options.Base = apiclient.DefaultBase
		return running{}, false
	}
	f.options.Base = site.URL
	f.options.Network, f.options.Address = site.dialed()
	f.options.Roots, _ = os.ReadFile(found.RootFile) // there may be none
	return found, true
}

// isHere reports whether the API is on this machine.
func (f *apiFlags) isHere() bool {
	u, err := url.Parse(f.options.Base)
	return f.options.Address != "" || err == nil && localHost(u.Host)
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
