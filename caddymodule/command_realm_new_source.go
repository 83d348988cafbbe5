package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/curl"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// source finds out which provider it is.
func (f *realmNewFlags) source(ctx context.Context, q *questions) (*newRealm, error) {
	switch {
	case f.curl != "":
		return f.fromCurl(ctx, q)
	case f.tokenURL != "":
		return f.clientCredentials(f.tokenURL), nil
	case f.preset == "" && !q.isPerson:
		return nil, errors.New("--preset is missing: name a provider of the catalogue, or give --token-url or --curl")
	}
	name := f.preset
	if name == "" {
		var err error
		if name, err = q.choosePreset(ctx); err != nil {
			return nil, err
		}
	}
	if name != "" {
		return presetRealm(name)
	}
	address, err := q.answer(ctx, "", "--token-url", q.say("URL of the token endpoint (for other requests than OAuth's, leave with Ctrl-C and use --curl)", "token 接口的 URL（非 OAuth 请求请用 --curl）"), "")
	if err != nil {
		return nil, err
	}
	return f.clientCredentials(address), nil
}

// clientCredentials is the realm of the most common standard (RFC 6749 section
// 4.4).
func (f *realmNewFlags) clientCredentials(address string) *newRealm {
	n := &newRealm{fields: map[string]realm.Hidden{}, wanted: []presets.Field{
		{Name: "client_id", Required: true}, {Name: "client_secret", Required: true, Confidential: true},
	}}
	n.realm.Config.Grant = &realm.Grant{Name: realm.GrantClientCredentials, TokenURL: address, Scopes: f.scopes}
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		n.realm.Config.API = u.Scheme + "://" + u.Host
		if u.Scheme == "http" {
			n.realm.Config.AllowHTTP = realm.On
		}
	}
	return n
}

// presetRealm is a realm of the catalogue.
func presetRealm(name string) (*newRealm, error) {
	p, err := presets.Get(name)
	if errors.Is(err, presets.ErrUnknown) {
		return nil, fmt.Errorf("--preset %q: %w%s; %s lists them", name, err, presets.Suggest(name), executable.Command("presets"))
	}
	if err != nil {
		return nil, err
	}
	n := &newRealm{fields: map[string]realm.Hidden{}}
	n.realm.Config.Preset = p.Name
	for _, field := range p.Fields {
		switch {
		case field.Pushed:
			n.notes = append(n.notes, fmt.Sprintf("the provider pushes %s; %s says how it arrives", field.Name, executable.Command("presets "+p.Name)))
		default:
			n.wanted = append(n.wanted, field)
		}
	}
	for _, parent := range p.Parents() {
		n.notes = append(n.notes, fmt.Sprintf("it takes the token of the realm %s, which has to be there first", parent.Name))
	}
	if p.NeedsPerson() {
		n.notes = append(n.notes, "a person authorizes the account afterwards: "+executable.Command("authorize"))
	}
	return n, nil
}

// fromCurl reads the command, and takes the preset in its place if there is one for
// its provider.
func (f *realmNewFlags) fromCurl(ctx context.Context, q *questions) (*newRealm, error) {
	text := f.curl
	if text == "-" {
		read, err := readInput(q.cmd, "-")
		if err != nil {
			return nil, err
		}
		text, q.isPerson = string(read), false // the input is at its end
	}
	request, err := curl.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--curl: %w", err)
	}
	draft, err := request.Draft()
	if err != nil {
		return nil, fmt.Errorf("--curl: %w", err)
	}
	if name, err := f.presetOf(ctx, q, draft); err != nil || name != "" {
		if err != nil {
			return nil, err
		}
		n, err := presetRealm(name)
		if err != nil {
			return nil, err
		}
		p, err := presets.Get(name)
		if err != nil {
			return nil, err
		}
		n.fields, err = request.ForPreset(p)
		return n, err
	}
	n := &newRealm{fields: draft.Fields, refreshToken: draft.RefreshToken, notes: draft.Notes, learns: draft.Config.Grant == nil}
	n.realm.Config = draft.Config
	for _, name := range draft.Missing {
		n.wanted = append(n.wanted, presets.Field{Name: name, Required: true, Confidential: true})
	}
	if n.learns {
		n.realm.Config.TokenPath = cmp.Or(f.tokenPath, "access_token")
		n.realm.Config.ExpiresInPath = cmp.Or(f.expiresPath, "expires_in")
	}
	return n, nil
}

// presetOf asks whether the catalogue's realm is to be used for the provider of a
// request. A script says it with --preset.
func (f *realmNewFlags) presetOf(ctx context.Context, q *questions, draft *curl.Draft) (string, error) {
	if f.preset != "" || len(draft.Presets) == 0 {
		return f.preset, nil
	}
	names := strings.Join(draft.Presets, ", ")
	if !q.isPerson {
		_, _ = fmt.Fprintf(q.cmd.ErrOrStderr(), "the catalogue knows this provider: --preset %s takes its realm\n", strings.Join(draft.Presets, ", or --preset "))
		return "", nil
	}
	return q.answer(ctx, "", "--preset", fmt.Sprintf(q.say("the catalogue knows this provider (%s); preset to use, - for none", "目录中已有该提供方（%s）；要用的 preset，- 表示不用"), names), draft.Presets[0])
}
