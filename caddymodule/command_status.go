package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
)

const statusLong = `
Shows how the stores are, and each token that the instance knows: its state, when
it expires, when it is renewed next, and what an operator should know of it.

With --watch it goes on until it is interrupted, and follows the instance: what
changes is shown at once. A terminal shows what fits on the screen, what needs a
person first; elsewhere a line of JSON comes with each change.

--ready asks /readyz of the same site instead (token_health in the Caddyfile). It
needs no token, and is meant for the health check of a container.

Exit status: 0 if all is well; 1 if something needs a person (a token is failing
or has to be authorized again, a row is damaged, a store does not work), if
--ready finds the instance not ready, or if the state could not be found out.
` + apiLong

const (
	// statusPage is how many tokens are asked for at a time.
	statusPage = 1000
	// readyPatience is how long --ready waits: a health check must not hang.
	readyPatience = 3 * time.Second
)

// errAttention: something in the status needs a person.
var errAttention = errors.New("something needs a person: see above")

// statusFlags are the flags of tokens status.
type statusFlags struct {
	verbFlags
	realm        string
	watch, ready bool
}

func statusCommand() *cobra.Command {
	f := new(statusFlags)
	cmd := &cobra.Command{
		Use:               "status",
		Short:             "Shows the state of the stores and of each token",
		Long:              statusLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.show(cmd) },
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&f.realm, "realm", "", "only the tokens of this realm")
	cmd.Flags().BoolVar(&f.watch, "watch", false, "go on, and show what changes")
	cmd.Flags().BoolVar(&f.ready, "ready", false, "only tell by the exit status whether the instance is ready")
	cmd.MarkFlagsMutuallyExclusive("ready", "watch")
	completeFlag(cmd, "realm", &f.api, realmIDs)
	return cmd
}

func (f *statusFlags) show(cmd *cobra.Command) error {
	if f.ready {
		return f.requireReady(cmd.Context(), cmd.ErrOrStderr())
	}
	err := f.run(cmd, "admin_read", func(ctx context.Context, c *apiclient.Client, out output) error {
		if f.watch {
			return f.follow(ctx, cmd, c, out)
		}
		document, s, err := f.ask(ctx, c)
		switch {
		case err != nil:
			return err
		case out.json:
			err = printJSON(out, document)
		default:
			err = s.write(out, time.Now())
		}
		if err == nil && s.needsPerson() {
			err = errAttention
		}
		return err
	})
	if errors.Is(err, errAttention) {
		cmd.SilenceErrors = !f.out.of(cmd).json // a table says it already
	}
	return err
}

// shownStatus is what the command reads of GET /api/status.
type shownStatus struct {
	broker.Status
	Clients struct {
		StaleSince *time.Time `json:"stale_since"`
	} `json:"clients"`
	Total *int `json:"total"`
}

// ask reads the state, page by page: an instance may have very many tokens.
func (f *statusFlags) ask(ctx context.Context, c *apiclient.Client) (document map[string]json.RawMessage, s shownStatus, err error) {
	query := url.Values{"pageSize": {strconv.Itoa(statusPage)}}
	if f.realm != "" {
		query.Set("realm", f.realm)
	}
	tokens := []json.RawMessage{}
	for page := 1; ; page++ {
		query.Set("page", strconv.Itoa(page))
		var part map[string]json.RawMessage
		if err := c.JSON(ctx, http.MethodGet, "/api/status?"+query.Encode(), nil, &part); err != nil {
			return nil, s, err
		}
		var read shownStatus
		var list []json.RawMessage
		whole, err := json.Marshal(part)
		if err := errors.Join(err, json.Unmarshal(whole, &read), json.Unmarshal(part["tokens"], &list)); err != nil || read.Stores == nil {
			return nil, s, fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
		}
		tokens = append(tokens, list...)
		read.Tokens = append(s.Tokens, read.Tokens...)
		document, s = part, read
		if len(list) == 0 || s.Total == nil || len(tokens) >= *s.Total {
			break
		}
	}
	if f.realm != "" && len(tokens) == 0 { // is there such a realm at all?
		if err := c.JSON(ctx, http.MethodGet, realmPath(f.realm), nil, nil); err != nil {
			return nil, s, err
		}
	}
	delete(document, "total")
	document["tokens"], err = json.Marshal(tokens)
	return document, s, err
}

// needsPerson reports whether something does not mend itself.
func (s shownStatus) needsPerson() bool {
	return len(s.Damaged) > 0 ||
		slices.ContainsFunc(s.Stores, func(s broker.StoreStatus) bool { return !s.OK }) || slices.ContainsFunc(s.Tokens, needsPerson)
}

func needsPerson(t broker.TokenStatus) bool {
	return t.State == "failing" || t.State == "reauth_required"
}

// write writes the tables: first what everything else stands on.
func (s shownStatus) write(out output, now time.Time) error {
	for _, store := range s.Stores {
		state := out.paint(green, "works")
		if !store.OK {
			state = out.paint(red, "does not work: "+printable(store.Error))
		}
		if err := out.line("store %s %s", printable(store.Name), state); err != nil {
			return err
		}
	}
	for _, d := range s.Damaged {
		what := printable(d.Realm)
		if d.Key != "" {
			what += " " + printable(d.Key)
		}
		if err := out.line("%s", out.paint(red, fmt.Sprintf("damaged: %s %s", printable(d.Kind), what))); err != nil {
			return err
		}
	}
	if s.Clients.StaleSince != nil {
		if err := out.line("%s", out.paint(yellow, "changes of clients may have gone unnoticed since "+endInWords(s.Clients.StaleSince))); err != nil {
			return err
		}
	}
	if len(s.Tokens) == 0 {
		return out.line("no token is known yet: the first request fetches one")
	}
	rows := make([][]cell, len(s.Tokens))
	for i, t := range s.Tokens {
		rows[i] = append(plain(t.Realm, t.Key), cell{t.State, stateInks[t.State]})
		rows[i] = append(rows[i], plain(inTime(t.ExpiresAt, now), inTime(t.NextRefresh, now), noteOf(t))...)
	}
	return out.table([]string{"REALM", "KEY", "STATE", "EXPIRES IN", "RENEWED IN", "NOTE"}, rows)
}

// stateInks are the colors of the states.
var stateInks = map[string]ink{
	broker.StateLive: green, broker.StateIdle: faint, "expired": yellow, "failing": red, "reauth_required": red,
}

// noteOf is what an operator should know of a token.
func noteOf(t broker.TokenStatus) string {
	switch {
	case t.State == "reauth_required":
		return executable.Command("authorize " + t.Realm + " " + t.Key)
	case t.Note != "":
		return t.Note
	}
	return t.LastError
}

// inTime is how long it is until a time, in the two largest units.
func inTime(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	left := t.Sub(now).Round(time.Second)
	switch {
	case left <= 0:
		return "now"
	case left < time.Minute:
		return fmt.Sprintf("%ds", left/time.Second)
	case left < time.Hour:
		return fmt.Sprintf("%dm%02ds", left/time.Minute, left%time.Minute/time.Second)
	case left < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", left/time.Hour, left%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", left/(24*time.Hour))
}

// requireReady asks /readyz, which needs no credential, and is shown none.
func (f *statusFlags) requireReady(ctx context.Context, warnings io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	f.api.find(ctx)
	c, err := apiclient.New(f.api.options)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := c.Do(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		// What no handler serves is answered by Caddy like this.
		if _, err := io.ReadFull(resp.Body, make([]byte, 1)); errors.Is(err, io.EOF) {
			_, _ = fmt.Fprintf(warnings, "warning: %s/readyz answers with nothing, as a site without token_health does\n", c.Base())
		}
		return nil
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%s is not ready: its store cannot be used; %s says why", c.Base(), executable.Command("status"))
	}
	return fmt.Errorf("%s/readyz answers with status %d: write token_health into the site of token_admin", c.Base(), resp.StatusCode)
}
