package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// collect asks for everything that is not said by flags.
func (f *realmNewFlags) collect(ctx context.Context, cmd *cobra.Command) (*newRealm, error) {
	q := &questions{cmd: cmd, isPerson: isTerminal(cmd.InOrStdin()), language: localeLanguage()}
	n, err := f.source(ctx, q)
	if err != nil {
		return nil, err
	}
	if n.realm.ID, err = q.answer(ctx, f.id, "--id", q.say("id of the realm", "realm 的 id"), suggestedID(n)); err != nil {
		return nil, err
	}
	n.key = f.key
	if err := errors.Join(realm.ValidateNewID("--id", n.realm.ID), realm.ValidateNewID("--key", n.key)); err != nil {
		return nil, err
	}
	if n.realm.Config.Preset == "" {
		if err := f.target(ctx, q, n); err != nil {
			return nil, err
		}
	}
	if f.writesCaddyfile {
		return n, nil
	}
	return n, f.values(ctx, q, n)
}

// target asks where the API is, and where it takes the token.
func (f *realmNewFlags) target(ctx context.Context, q *questions, n *newRealm) (err error) {
	c := &n.realm.Config
	base := f.apiBase
	if base == "" && !q.isPerson {
		base = c.API
	}
	if c.API, err = q.answer(ctx, base, "--api-base", q.say("base URL of the API", "API 的基础 URL"), c.API); err != nil {
		return err
	}
	if strings.HasPrefix(c.API, "http://") && !c.AllowHTTP.IsOn() {
		c.AllowHTTP = realm.On
		n.notes = append(n.notes, "the token goes to the API in clear, so that allow_http is set; use https if the provider has it")
	}
	const bearer = "header Authorization Bearer {token}"
	words, err := q.answer(ctx, f.inject, "--inject", q.say("where the API takes the token (query access_token; header NAME VALUE; none)", "API 在哪里取 token（query access_token；header 名 值；none）"), bearer)
	if err != nil {
		return err
	}
	if c.Inject, err = parseInject(words); err != nil {
		return err
	}
	if len(c.Inject) > 0 {
		c.RenewOn = []realm.Rule{{Status: []int{http.StatusUnauthorized}}}
	}
	return nil
}

// parseInject reads an inject line: the place, the name, and the rest as the value.
func parseInject(words string) ([]realm.Injection, error) {
	if words == "none" {
		return nil, nil
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(words), " ")
	name, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
	place, ok := injectPlaces[word]
	if !ok || name == "" {
		return nil, errors.New("--inject: write a place (query, header, basic, body, path, cookie), a name and perhaps a value: header Authorization Bearer {token}")
	}
	return []realm.Injection{{Place: place, Name: name, Value: strings.Trim(strings.TrimSpace(value), `"`)}}, nil
}

// values asks for what the secret needs, or reads it from standard input.
func (f *realmNewFlags) values(ctx context.Context, q *questions, n *newRealm) error {
	var missing []presets.Field
	for _, field := range n.wanted {
		if n.fields[field.Name] == "" {
			missing = append(missing, field)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if q.isPerson {
		for _, field := range missing {
			value, err := q.field(ctx, field)
			if err != nil {
				return err
			}
			if value != "" {
				n.fields[field.Name] = value
			}
		}
		return nil
	}
	if f.curl != "-" {
		text, err := readInput(q.cmd, "-")
		if err != nil {
			return err
		}
		given, err := parseValues(text)
		if err != nil {
			return err
		}
		for name, value := range given {
			text, ok := value.(string)
			if !ok {
				return fmt.Errorf("the value of %s on standard input is not a text", printable(name))
			}
			n.fields[name] = realm.Hidden(text)
		}
	}
	for _, field := range missing {
		if field.Required && field.Default == "" && n.fields[field.Name] == "" {
			return fmt.Errorf(`the field %s is missing: send {"%[1]s": ...} to standard input`, field.Name)
		}
	}
	return nil
}

// suggestedID is the name of the preset, or what a host is called by people.
func suggestedID(n *newRealm) string {
	if n.realm.Config.Preset != "" {
		return n.realm.Config.Preset
	}
	u, err := url.Parse(n.realm.Config.API)
	if err != nil {
		return ""
	}
	parts := strings.Split(u.Hostname(), ".")
	return parts[max(0, len(parts)-2)]
}
