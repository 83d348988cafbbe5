package caddymodule

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
)

const testLong = `
Tries a realm out: makes one token request with the secret and says what was sent,
what came back, what was found in it, and what is probably wrong. Nothing
confidential is shown. The token is not kept; but a realm that can only refresh is
refreshed as usual, and its new token is the live one.

--call METHOD sends one real request to the realm's API afterwards, with the live
token, to the path that is the last argument:

    caddy tokens test wechat main --call GET /cgi-bin/get_api_domain_ip

A method that changes something does change it. A redirect is not followed.

The exit status is 0 if there is a token, and a call was not refused; 2 if not; and
1 if that could not be found out.
` + apiLong

func testCommand() *cobra.Command {
	f := new(verbFlags)
	var method string
	cmd := &cobra.Command{
		Use:   "test REALM KEY [--call METHOD /path]",
		Short: "Tries a realm out with a secret, and says what is wrong",
		Long:  testLong,
		Args:  cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			question := map[string]any{"key": args[1]}
			switch {
			case method != "" && len(args) == 3:
				question["call"] = map[string]string{"method": method, "path": args[2]}
			case method != "":
				return errors.New("--call needs a path behind the method: --call GET /path")
			case len(args) == 3:
				return fmt.Errorf("surplus argument %q: a path needs --call METHOD", args[2])
			}
			var good bool
			err := f.run(cmd, "admin (with --call also use)", func(ctx context.Context, c *apiclient.Client, out output) (err error) {
				good, err = tryOut(ctx, c, args[0], question, out)
				return err
			})
			if err != nil || good {
				return err
			}
			return endWith(cmd, exitRefused)
		},
	}
	f.AddFlags(cmd)
	cmd.ValidArgsFunction = completeRef(&f.api)
	cmd.Flags().StringVar(&method, "call", "", "send one request with this method to the API (default: none)")
	return cmd
}

// tryoutAnswer is what the API answers to a dry run.
type tryoutAnswer struct {
	grant.Report
	Advice []doctor.Advice
	Call   *doctor.Call
}

// tryOut has the API make a dry run, writes the answer, and reports whether all of
// it was good.
func tryOut(ctx context.Context, c *apiclient.Client, realmID string, question map[string]any, w output) (good bool, err error) {
	var document json.RawMessage
	if err := c.JSON(ctx, http.MethodPost, "/api/realm/"+url.PathEscape(realmID)+"/test", question, &document); err != nil {
		return false, err
	}
	var answer tryoutAnswer
	if err := json.Unmarshal(document, &answer); err != nil {
		return false, fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
	}
	hasToken := answer.Token != nil || answer.Fault == grant.FaultFixed
	good = hasToken && (answer.Call == nil || !answer.Call.IsRefused())
	if w.json {
		return good, printJSON(w, document)
	}
	out := bufio.NewWriter(w)
	for _, line := range answer.lines() {
		_, _ = fmt.Fprintln(out, printable(line))
	}
	return good, out.Flush()
}

// lines are the report for people.
func (a *tryoutAnswer) lines() (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if a.Request.URL != "" {
		add("request: %s %s", a.Request.Method, a.Request.URL)
	}
	if r := a.Response; r != nil {
		add("answer: %s", answerLine(r))
	}
	for _, v := range a.Found {
		if v.At == "" {
			continue
		}
		switch {
		case !v.Found && a.Token != nil && strings.HasPrefix(v.What, "success"):
			add("absent, as it may be: %s at %s", v.What, v.At)
		case !v.Found:
			add("not found: %s at %s", v.What, v.At)
		case v.What == "token" && a.Token != nil:
			add("found: %s at %s, a %s of %d characters", v.What, v.At, v.Type, a.Token.Length)
		default:
			add("found: %s at %s, a %s", v.What, v.At, v.Type)
		}
	}
	if a.Token != nil {
		add("token: a new one%s", map[bool]string{true: ", which is the live one now"}[a.Saved])
		add("%s", a.expiryLine())
	}
	if a.Error != "" {
		add("no token: %s", a.Error)
	}
	if r := a.Rule; r != nil {
		add("refused by: %s%s", strings.TrimSpace(r.List+" "+r.At), map[bool]string{true: " (" + a.Class + ")"}[a.Class != ""])
	}
	for _, w := range a.Warnings {
		add("warning: %s", w)
	}
	if c := a.Call; c != nil {
		add("call: %s %s", c.Method, c.Path)
		switch {
		case c.Response != nil:
			add("call's answer: %s", answerLine(c.Response))
		default:
			add("call refused by: %s", strings.TrimPrefix(string(c.Code)+": "+c.Error, ": "))
		}
		if c.Dead && c.Rule != nil {
			add("call refused by: renew_on[%d]", *c.Rule)
		}
	}
	for _, advice := range a.Advice {
		add("advice: %s", advice.Text)
	}
	return lines
}

// answerLine is an answer on one line.
func answerLine(r *grant.ReportResponse) string {
	line := fmt.Sprintf("HTTP %d, %s, %d bytes, in %d ms", r.Status, cmp.Or(r.ContentType, "no content type"), r.Bytes, r.DurationMS)
	if len(r.Names) > 0 {
		line += ", with " + strings.Join(r.Names, ", ")
	}
	if said := strings.TrimSpace(r.ProviderCode + " " + r.ProviderMessage); said != "" {
		line += "; it says: " + said
	}
	return line
}

// expiryLine says how long the token lives, and where that stands.
func (a *tryoutAnswer) expiryLine() string {
	left := a.Token.ExpiresIn
	if left == nil {
		return "expires: never"
	}
	if a.Expiry == nil || a.Expiry.ExpiresIn == nil {
		return fmt.Sprintf("expires in %d s", *left/1000)
	}
	from := a.Expiry.From
	if a.Expiry.Unit != "" && from == "answer" {
		from += ", unit " + a.Expiry.Unit
	}
	return fmt.Sprintf("expires in %d s (%s)", *a.Expiry.ExpiresIn/1000, from)
}
