package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// nextSteps tell what to do about an error of the API, by its code. What is
// missing here is said by the error itself, or cannot be helped by whoever runs a
// command.
var nextSteps = map[realm.Code]string{
	realm.CodeRealmNotFound:    "caddy tokens realm list shows which there are",
	realm.CodeSecretNotFound:   "caddy tokens secret list shows which there are",
	realm.CodeTokenUnavailable: "caddy tokens test REALM KEY says why",
	realm.CodeReauthRequired:   "caddy tokens authorize REALM KEY begins it",
	realm.CodeBudgetSpent:      "wait, or raise the limit of the realm if the provider allows more",
	realm.CodeReadOnly:         "change it in the Caddyfile, and reload",
	realm.CodeDamaged:          "delete it and create it again, or restore the database",
	realm.CodeUnavailable:      "caddy tokens status shows the state of the database",
	realm.CodeInternal:         "look into the log of the instance, and report it",
}

// adviseOn puts the next step behind an error, in the same sentence. An error may
// quote a provider, and nothing in it may command the terminal.
func adviseOn(ctx context.Context, c *apiclient.Client, needs string, err error) error {
	var refused *apiclient.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, apiclient.ErrForbidden) && c.HasCredential() && isKnown(ctx, c):
		err = &advisedError{err, "the caller has no right to do this: it needs the right " + needs +
			"; whoever administrates gives it with caddy tokens client add ID --update --allow"}
	case errors.As(err, &refused) && nextSteps[refused.Code] != "":
		err = &advisedError{err, strings.TrimSuffix(err.Error(), ".") + "; " + nextSteps[refused.Code]}
	}
	if text := inLine(err.Error()); text != err.Error() {
		return &advisedError{err, text}
	}
	return err
}

// isKnown reports whether the API lets the caller in: every client may read the
// catalogue.
func isKnown(ctx context.Context, c *apiclient.Client) bool {
	return !errors.Is(c.JSON(ctx, http.MethodGet, "/api/preset/-", nil, nil), apiclient.ErrForbidden)
}

// advisedError is an error with other words.
type advisedError struct {
	err  error
	text string
}

func (e *advisedError) Error() string { return e.text }
func (e *advisedError) Unwrap() error { return e.err }

// inLine escapes what is not printable in a text, and leaves the rest of it.
func inLine(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
