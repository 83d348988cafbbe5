package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// create shows what will be saved, saves it, and tries it out.
func (f *realmNewFlags) create(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, out output, n *newRealm) error {
	var refused *apiclient.RefusedError
	switch err := c.JSON(ctx, http.MethodGet, realmPath(n.realm.ID), nil, nil); {
	case err == nil:
		return fmt.Errorf("realm %s exists: choose another --id, or add a secret with %s", printable(n.realm.ID), executable.Command("secret set"))
	case !errors.As(err, &refused) || refused.Code != realm.CodeRealmNotFound:
		return err
	}
	if block, err := n.block(); err == nil {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "This will be created, with the values in the secret:\n\n%s\n", indented(inBlock(block)))
	}
	n.tellNotes(cmd)
	if isTerminal(cmd.InOrStdin()) {
		if err := confirm(ctx, cmd, "Create it?", f.yes); err != nil {
			return err
		}
	}
	answer, err := n.save(ctx, c)
	if err != nil {
		return err
	}
	if err := n.saveSecret(ctx, c); err != nil {
		return fmt.Errorf("realm %s was created, but not its secret: %w; enter it with %s", printable(n.realm.ID), err,
			executable.Command("secret set "+printable(n.realm.ID)+" "+printable(n.key)))
	}
	isGood := true
	if f.wantsTry(ctx, cmd) {
		if isGood, err = f.try(ctx, cmd, c, n); err != nil {
			return err
		}
		if answer, err = n.save(ctx, c); err != nil {
			return err
		}
	}
	if out.json {
		err = printJSON(out, answer)
	} else {
		err = out.line("realm %s was created with the secret %s; %s tries it out", printable(n.realm.ID), printable(n.key),
			executable.Command("test "+printable(n.realm.ID)+" "+printable(n.key)))
	}
	if err == nil && !isGood {
		return endWith(cmd, exitRefused)
	}
	return err
}

// inBlock makes each line of a block printable.
func inBlock(block string) string {
	lines := strings.Split(block, "\n")
	for i, line := range lines {
		tabs := len(line) - len(strings.TrimLeft(line, "\t"))
		lines[i] = line[:tabs] + inLine(line[tabs:])
	}
	return strings.Join(lines, "\n")
}

func (n *newRealm) save(ctx context.Context, c *apiclient.Client) (answer json.RawMessage, err error) {
	err = c.JSON(ctx, http.MethodPost, realmCollection, map[string]any{"id": n.realm.ID, "config": n.realm.Config}, &answer)
	return answer, err
}

func (n *newRealm) saveSecret(ctx context.Context, c *apiclient.Client) error {
	fields := make(map[string]string, len(n.fields))
	for name, value := range n.fields {
		fields[name] = value.Reveal()
	}
	question := map[string]any{"realm": n.realm.ID, "key": n.key, "fields": fields}
	if n.refreshToken != "" {
		question["refresh_token"] = n.refreshToken.Reveal()
	}
	return c.JSON(ctx, http.MethodPost, secretCollection, question, nil)
}

// wantsTry asks whether to make the dry run.
func (f *realmNewFlags) wantsTry(ctx context.Context, cmd *cobra.Command) bool {
	if f.tries || f.dry || !isTerminal(cmd.InOrStdin()) {
		return f.tries
	}
	answer, err := ask(ctx, cmd, "Try it out now? It makes one token request [Y/n]")
	return err == nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n")
}

// try makes the dry run, and learns from it where the token stands.
func (f *realmNewFlags) try(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, n *newRealm) (isGood bool, err error) {
	question := map[string]any{"key": n.key}
	if n.learns {
		question["config"] = n.realm.Config
	}
	var answer tryoutAnswer
	if err := c.JSON(ctx, http.MethodPost, realmPath(n.realm.ID)+"/test", question, &answer); err != nil {
		return false, err
	}
	tell := func(format string, args ...any) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
	learned := n.learns && f.learn(&answer, &n.realm.Config)
	isGood = answer.Token != nil || learned
	for _, line := range answer.lines() {
		if !learned || !strings.HasPrefix(line, "advice: ") && !strings.HasPrefix(line, "no token: ") {
			tell("%s", printable(line))
		}
	}
	if n.learns && isGood {
		tell("the token is read at %s, its life at %s", n.realm.Config.TokenPath, cmp.Or(n.realm.Config.ExpiresInPath, "no place: 5 minutes are taken; set lifetime"))
	}
	return isGood, nil
}

// learn takes from the report of a dry run where the token and its life are. It
// reports whether the token was found elsewhere than where it was looked for.
func (f *realmNewFlags) learn(answer *tryoutAnswer, c *realm.Config) (learned bool) {
	for _, v := range answer.Found {
		switch {
		case v.What == "token" && !v.Found && len(v.Alike) > 0 && f.tokenPath == "":
			c.TokenPath, learned = v.Alike[0], true
		case v.What == "expires_in" && !v.Found && f.expiresPath == "":
			c.ExpiresInPath = ""
			if len(v.Alike) > 0 {
				c.ExpiresInPath = v.Alike[0]
			}
		}
	}
	if e := answer.Expiry; e != nil && e.OtherUnit != "" {
		c.ExpiresInUnit = e.OtherUnit
	}
	return learned
}
