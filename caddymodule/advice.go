package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// nextStep tells what to do about an error of the API, by its code; "" where the
// error itself says it, or whoever runs a command cannot help it. ref are the realm and
// the key that it is about, as words of a command.
func nextStep(code realm.Code, ref string) string {
	switch code { //nolint:exhaustive // the others say it themselves
	case realm.CodeRealmNotFound:
		return executable.Command("realm list") + " shows which there are"
	case realm.CodeSecretNotFound:
		return executable.Command("secret list") + " shows which there are"
	case realm.CodeTokenUnavailable:
		return executable.Command("test "+ref) + " says why"
	case realm.CodeReauthRequired:
		return executable.Command("authorize "+ref) + " begins it"
	case realm.CodeNotAuthorizable:
		return "its tokens need no person; " + executable.Command("test "+ref) + " shows whether one comes"
	case realm.CodeRateLimited:
		return "wait a minute, and call the command again"
	case realm.CodeBudgetSpent:
		return "wait, or raise the limit of the realm if the provider allows more"
	case realm.CodeReadOnly:
		return "change it in the Caddyfile, and reload"
	case realm.CodeDamaged:
		return "delete it and create it again, or restore the database"
	case realm.CodeUnavailable:
		return executable.Command("status") + " shows the state of the database"
	case realm.CodeInternal:
		return "look into the log of the instance, and report it"
	}
	return ""
}

// errInterrupted: somebody wanted no more of it.
var errInterrupted = errors.New("interrupted before it was done")

// adviseOn puts the next step behind an error, in the same sentence. An error may
// quote a provider, and nothing in it may command the terminal.
func adviseOn(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, needs string, err error) error {
	var refused *apiclient.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, apiclient.ErrForbidden) && c.HasCredential() && isKnown(ctx, c):
		err = &advisedError{err, "the caller has no right to do this: it needs the right " + needs +
			"; whoever administrates adds it with " + executable.Command("client allow ID "+ruleWord(cmd, needs))}
	case errors.As(err, &refused):
		near, step := meant(ctx, cmd, c, refused.Code)
		if step == "" {
			step = nextStep(refused.Code, refWords(cmd))
		}
		if step != "" {
			err = &advisedError{err, strings.TrimSuffix(err.Error(), ".") + near + "; " + step}
		}
	}
	if text := inLine(err.Error()); text != err.Error() {
		return &advisedError{err, text}
	}
	return err
}

// refWords are the realm and the key that a verb is about, as words of another one.
func refWords(cmd *cobra.Command) string {
	if args := cmd.Flags().Args(); strings.Contains(cmd.Use, "REALM KEY") && len(args) >= 2 {
		return shellWord(args[0]) + " " + shellWord(args[1])
	}
	return "REALM KEY"
}

// ruleWord is the rule, as a word of client allow, with the first of the rights that a
// verb needs.
func ruleWord(cmd *cobra.Command, needs string) string {
	right, _, _ := strings.Cut(needs, " ")
	of := "REALM"
	switch flag, args := cmd.Flags().Lookup("realm"), cmd.Flags().Args(); {
	case strings.HasSuffix(needs, "for all realms"):
		of = "*"
	case flag != nil && flag.Changed:
		of = flag.Value.String()
	case strings.Contains(cmd.Use, " REALM") && len(args) > 0:
		of = args[0]
	}
	return shellWord(strings.TrimSuffix(right, ",") + " " + of)
}

// shellWord is a text as one word of a shell.
func shellWord(text string) string {
	isPlain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_./:@", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !isPlain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// meant looks for what was perhaps meant by the id of a realm, a secret or a client
// that there is not. step is the next one, where the code alone does not say it.
func meant(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, code realm.Code) (near, step string) {
	ids := cmd.Flags().Args()
	if flag := cmd.Flags().Lookup("realm"); flag != nil && flag.Changed {
		ids = []string{flag.Value.String()}
	}
	var wanted string
	var list completion
	switch {
	case code == realm.CodeRealmNotFound && len(ids) > 0:
		wanted, list = ids[0], realmIDs
	case code == realm.CodeSecretNotFound && len(ids) > 1:
		wanted, list = ids[1], keysOfRealm
	case code == realm.CodeNotFound && (cmd.Name() == "explain" || cmd.Parent() != nil && cmd.Parent().Name() == "client"):
		step = executable.Command("client list") + " shows which there are"
		if flag := cmd.Flags().Lookup("client"); flag != nil {
			ids = []string{flag.Value.String()}
		}
		if len(ids) > 0 {
			wanted, list = ids[0], clientIDs
		}
	}
	if list == nil {
		return "", step
	}
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	known, err := list(ctx, c, ids)
	if err != nil { // the caller may not see them
		return "", step
	}
	return spelling.DidYouMean(wanted, known), step
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
