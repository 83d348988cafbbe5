package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Client is who may use the proxy, read tokens or administrate. A caller is the
// client whose key it sends, else whose certificate, user or address it has.
type Client struct {
	// The id. Required.
	ID string `json:"id"`

	// The API keys: of the form ctk_..., or at least 32 bytes. At most two, so
	// that one can be replaced. Write them as {env.NAME} or
	// {file./absolute/path}.
	Keys []string `json:"keys,omitempty"`

	// The users that an authentication handler, or auth {placeholder}, names.
	Users []string `json:"users,omitempty"`

	// The subjects of client certificates that Caddy verified, such as
	// CN=billing.
	Subjects []string `json:"subjects,omitempty"`

	// The prefixes of the addresses that the client calls from, such as
	// 10.1.0.0/16.
	Sources []string `json:"sources,omitempty"`

	// What the client may do. Denials win; what no rule allows is refused.
	Rules []tokenstore.Rule `json:"rules,omitempty"`

	// How much of it, on each node. Default: no limit.
	Limits *tokenstore.ClientLimits `json:"limits,omitempty"`

	// The client is an instance that takes its tokens from this one.
	Edge bool `json:"edge,omitempty"`

	// A note for people.
	Comment string `json:"comment,omitempty"`

	// When the client ends, in RFC 3339. Default: never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// stored is the client as the registry takes it, with the keys' digests.
func (c Client) stored() (tokenstore.Client, error) {
	s := tokenstore.Client{
		ID: c.ID, Comment: c.Comment, Rules: c.Rules, Users: c.Users, Subjects: c.Subjects, Sources: c.Sources, Edge: c.Edge,
	}
	if c.Limits != nil {
		s.Limits = *c.Limits
	}
	if c.ExpiresAt != nil {
		s.ExpiresAt = *c.ExpiresAt
	}
	for i, text := range c.Keys {
		key, err := resolveHidden(text)
		if err != nil {
			return s, fmt.Errorf("key %d: %w", i+1, err)
		}
		digest, err := access.ParseWrittenKey(key.Reveal())
		if err != nil {
			return s, errors.New(reasonOf(err))
		}
		s.Keys = append(s.Keys, tokenstore.ClientKey{Digest: digest})
	}
	return s, nil
}

// clientView checks the clients of the configuration, and makes its face of the
// registry.
func (a *App) clientView() (*access.View, error) {
	cfg := access.ViewConfig{Require: a.RequireClient}
	for _, c := range a.Clients {
		s, err := c.stored()
		if err != nil {
			return nil, fmt.Errorf("client %s: %w", c.ID, err)
		}
		cfg.Clients = append(cfg.Clients, s)
	}
	return a.registry.View(cfg)
}

// reasonOf is the text of an error about a field: "key has 5 bytes".
func reasonOf(err error) string {
	var field *realm.FieldError
	if !errors.As(err, &field) {
		return err.Error()
	}
	return field.Field + " " + field.Reason
}

// warnUnknownRules names the realms that rules name and nobody defined: most
// likely a slip, by which a denial denies nothing. See warnUnknown.
func (a *App) warnUnknownRules(ctx context.Context) {
	for _, c := range a.Clients {
		for _, r := range c.Rules {
			for _, id := range r.Realms {
				if strings.Contains(id, "*") || !a.isUnknownRealm(ctx, id) {
					continue
				}
				a.log.Warn("a rule names a realm that is neither in the configuration nor in the database",
					zap.String("client", c.ID), zap.String("realm", id))
			}
		}
	}
}

// warnShadowed names the clients of the database that a client of the
// configuration takes the place of: their keys are good for nothing.
func (a *App) warnShadowed(ctx context.Context) {
	if len(a.Clients) == 0 || a.clients.Ready(ctx) != nil {
		return
	}
	for _, id := range a.clients.Shadowed() {
		a.log.Warn("a client of the configuration takes the place of the one in the database with its id, whose keys are refused",
			zap.String("client", id))
	}
}
