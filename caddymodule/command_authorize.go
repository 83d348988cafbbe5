package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const authorizeLong = `
Begins an authorization: writes the link that a person opens, on a terminal also as
a QR code, and waits until the token is live or the link ends, which it does after
ten minutes. A new link ends the older ones of the secret. Whoever has the link can
authorize an account of their own: hand it to nobody else.

--open opens it in the browser of this machine. Elsewhere than on a terminal, the
link is one line of JSON, and the result another one.

To wait, the right admin_read is needed beside authorize.

Exit status: 0 if the token is live (with --no-wait: if there is a link), 2 if the
link ended first, and 1 for any error.
` + apiLong

const (
	// linkLife is how long a link is good.
	linkLife = 10 * time.Minute
	// exitLinkEnded is the exit status of authorize where nobody authorized.
	exitLinkEnded = 2
)

// errAuthorizationEnded: nobody opened the link, or nobody agreed.
var errAuthorizationEnded = errors.New("the link has ended and nobody authorized; call the command again for another one")

// authorizeFlags are the flags of tokens authorize.
type authorizeFlags struct {
	verbFlags
	open, noWait bool
	life         time.Duration
}

func authorizeCommand() *cobra.Command {
	f := new(authorizeFlags)
	cmd := &cobra.Command{
		Use:   "authorize REALM KEY",
		Short: "Writes the link by which a person authorizes, and waits for it",
		Long:  authorizeLong,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := refOf(args)
			if err != nil {
				return err
			}
			err = f.run(cmd, "authorize", func(ctx context.Context, c *apiclient.Client, out output) error {
				return f.authorize(ctx, cmd, c, ref, out)
			})
			if errors.Is(err, errAuthorizationEnded) {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), err)
				return endWith(cmd, exitLinkEnded)
			}
			return err
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().BoolVar(&f.open, "open", false, "open the link in the browser of this machine")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "write the link, and do not wait")
	cmd.Flags().DurationVar(&f.life, "timeout", linkLife, "how long to wait at most")
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}

func (f *authorizeFlags) authorize(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, ref realm.Ref, out output) error {
	before, err := tokenState(ctx, c, ref)
	if err != nil && !f.noWait {
		if errors.Is(err, apiclient.ErrForbidden) {
			return fmt.Errorf("without the right admin_read it cannot be seen when the token is live; add --no-wait: %w", err)
		}
		return err
	}
	var link struct {
		URL string `json:"url"`
	}
	if err := c.JSON(ctx, http.MethodGet, secretPath(ref)+"/authorize", nil, &link); err != nil {
		return err
	}
	if err := writeLink(out, link.URL, "Open this link, which is good for ten minutes:"); err != nil {
		return err
	}
	if f.open {
		remove, err := openBrowser(ctx, link.URL)
		if err != nil {
			return err
		}
		defer remove()
	}
	if f.noWait {
		return nil
	}
	return waitUntilLive(ctx, cmd, c, ref, before, f.life, out)
}

// writeLink writes a link: with its QR code for a person, as a line of JSON for a
// program.
func writeLink(out output, link, words string) error {
	if out.json {
		return printJSONLine(out, map[string]string{"url": link})
	}
	code, err := qrcode.New(link, qrcode.Low)
	if err != nil {
		return out.line("%s\n\n%s\n", words, inLine(link)) // too long for a code
	}
	blocks := code.ToSmallString(false)
	if width := len(code.Bitmap()); out.width > 0 && width > out.width {
		blocks = "(the terminal is too narrow for the QR code)\n"
	}
	return out.line("%s\n\n%s\n\n%s", words, inLine(link), blocks)
}

// waitUntilLive waits for a token that is newer than the one before.
func waitUntilLive(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, ref realm.Ref, before broker.TokenStatus, life time.Duration, out output) error {
	if !out.json {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "waiting for the authorization (Ctrl+C ends the wait, the link stays good)")
	}
	end := time.NewTimer(life)
	defer end.Stop()
	news := follow(ctx, c)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return errAuthorizationEnded
		case <-news:
		}
		now, err := tokenState(ctx, c, ref)
		if err != nil && !errors.Is(err, apiclient.ErrUnreachable) { // it may restart
			return err
		}
		if err == nil && now.State == broker.StateLive && now.Lineage > before.Lineage {
			if out.json {
				return printJSONLine(out, map[string]any{"realm": ref.Realm, "key": ref.Key, "state": now.State})
			}
			return out.line("%s %s is authorized; its token expires in %s", printable(ref.Realm), printable(ref.Key), inTime(now.ExpiresAt, time.Now()))
		}
	}
}

// tokenState is the state of one token; idle where the instance knows nothing.
func tokenState(ctx context.Context, c *apiclient.Client, ref realm.Ref) (broker.TokenStatus, error) {
	var s broker.Status
	query := url.Values{"realm": {ref.Realm}, "key": {ref.Key}}
	if err := c.JSON(ctx, http.MethodGet, "/api/status?"+query.Encode(), nil, &s); err != nil {
		return broker.TokenStatus{}, err
	}
	if len(s.Tokens) == 0 {
		return broker.TokenStatus{State: broker.StateIdle}, nil
	}
	return s.Tokens[0], nil
}
