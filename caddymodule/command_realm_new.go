package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/caddyfile"
	"github.com/caddy-tokens/caddy-tokens/internal/curl"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const realmNewLong = `
Makes a realm and its first secret. On a terminal it asks for what it needs: the
provider, out of the catalogue or another one, and the values of the secret, which
are not shown. It says what it will do before it does it.

    caddy tokens realm new
    caddy tokens realm new --preset wechat --id wechat < values.json
    caddy tokens realm new --token-url https://login.example.com/token --id crm \
        --api-base https://crm.example.com --inject 'header Authorization Bearer {token}'

Without a terminal, standard input brings the values as JSON, or as lines of
field=value, and the flags answer the questions. No value is an argument.

--curl makes the realm of a token request that works in a terminal:

    caddy tokens realm new --curl - < command.txt

What is confidential in it goes into the secret, and the rest into the realm. Unless
standard input is used (-), the command is an argument: other users of the machine
can read it as long as this runs, and the shell keeps it in its history. Then one
token request is made by the instance, if you agree, to learn where the token stands
in the answer.

--caddyfile writes a block for the Caddyfile in place of calling the API. There is no
value in it: placeholders name the variables and files that hold the values.

--inject takes the words of a Caddyfile: query access_token, or header Authorization
Bearer {token}; none if apps take the token themselves.

Exit status: 0 if the realm was made, 2 if it was made and the dry run got no token,
else 1.
` + apiLong

// realmNewFlags are the flags of tokens realm new.
type realmNewFlags struct {
	verbFlags
	preset, id, key, curl            string
	tokenURL, apiBase, inject        string
	tokenPath, expiresPath           string
	scopes                           []string
	writesCaddyfile, yes, tries, dry bool
}

// realmNewCommand is `caddy tokens realm new`.
func realmNewCommand() *cobra.Command {
	f := new(realmNewFlags)
	cmd := &cobra.Command{
		Use:               "new",
		Short:             "Makes a realm: asks what it needs, or reads a curl command",
		Long:              realmNewLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.make(cmd) },
	}
	f.AddFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.preset, "preset", "", "the provider of the catalogue; caddy tokens presets lists them")
	flags.StringVar(&f.id, "id", "", "the id of the realm")
	flags.StringVar(&f.key, "key", "main", "the key of its secret")
	flags.StringVar(&f.curl, "curl", "", "a curl command that gets a token; - for standard input")
	flags.StringVar(&f.tokenURL, "token-url", "", "the token endpoint of another provider, for the grant client_credentials")
	flags.StringSliceVar(&f.scopes, "scope", nil, "a scope of that grant (may be repeated)")
	flags.StringVar(&f.apiBase, "api-base", "", "the base URL of the provider's API")
	flags.StringVar(&f.inject, "inject", "", "where the API takes the token, in the words of a Caddyfile")
	flags.StringVar(&f.tokenPath, "token-path", "", "where the token stands in the answer (default: the dry run tells)")
	flags.StringVar(&f.expiresPath, "expires-in-path", "", "where its life stands in the answer (default: the dry run tells)")
	flags.BoolVar(&f.writesCaddyfile, "caddyfile", false, "write a block for the Caddyfile, and call no API")
	flags.BoolVar(&f.tries, "test", false, "make the dry run without asking")
	flags.BoolVar(&f.dry, "no-test", false, "make no dry run")
	flags.BoolVar(&f.yes, "yes", false, "do not ask whether to create it")
	cmd.MarkFlagsMutuallyExclusive("test", "no-test")
	cmd.MarkFlagsMutuallyExclusive("token-url", "curl")
	cmd.MarkFlagsMutuallyExclusive("token-url", "preset")
	return cmd
}

// newRealm is a realm that is being made.
type newRealm struct {
	realm  realm.Realm
	key    string
	fields map[string]realm.Hidden
	// refreshToken is the first one of a realm that can only refresh.
	refreshToken realm.Hidden
	// wanted are the fields that the secret needs.
	wanted []presets.Field
	// learns: where the token stands in the answer is not known yet.
	learns bool
	notes  []string
}

// make goes through the steps: what realm, which secret, where the token goes, and
// then the API or the Caddyfile.
func (f *realmNewFlags) make(cmd *cobra.Command) error {
	if f.writesCaddyfile {
		n, err := f.collect(cmd.Context(), cmd)
		if err != nil {
			return err
		}
		block, err := n.block()
		if err != nil {
			return err
		}
		n.tellNotes(cmd)
		_, err = fmt.Fprint(cmd.OutOrStdout(), block)
		return err
	}
	return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
		n, err := f.collect(ctx, cmd)
		if err != nil {
			return err
		}
		return f.create(ctx, cmd, c, out, n)
	})
}

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
		n.realm.Config.AllowHTTP = u.Scheme == "http"
	}
	return n
}

// presetRealm is a realm of the catalogue.
func presetRealm(name string) (*newRealm, error) {
	p, err := presets.Get(name)
	if errors.Is(err, presets.ErrUnknown) {
		return nil, fmt.Errorf("--preset %q: %w%s; caddy tokens presets lists them", name, err, presets.Suggest(name))
	}
	if err != nil {
		return nil, err
	}
	n := &newRealm{fields: map[string]realm.Hidden{}}
	n.realm.Config.Preset = p.Name
	for _, field := range p.Fields {
		switch {
		case field.Pushed:
			n.notes = append(n.notes, fmt.Sprintf("the provider pushes %s; caddy tokens presets %s says how it arrives", field.Name, p.Name))
		default:
			n.wanted = append(n.wanted, field)
		}
	}
	for _, parent := range p.Parents() {
		n.notes = append(n.notes, fmt.Sprintf("it takes the token of the realm %s, which has to be there first", parent.Name))
	}
	if p.NeedsPerson() {
		n.notes = append(n.notes, "a person authorizes the account afterwards: caddy tokens authorize")
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
	if strings.HasPrefix(c.API, "http://") && !c.AllowHTTP {
		c.AllowHTTP = true
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

// block is the realm as a block of a Caddyfile.
func (n *newRealm) block() (string, error) {
	s := caddyfile.Secret{Key: n.key, Fields: slices.Sorted(maps.Keys(n.fields))}
	for _, field := range n.wanted {
		if !slices.Contains(s.Fields, field.Name) && field.Default == "" {
			s.Fields = append(s.Fields, field.Name)
		}
	}
	for name, value := range n.fields {
		if caddyfile.IsMultiline(value) {
			s.Files = append(s.Files, name)
		}
	}
	return caddyfile.Write(n.realm, []caddyfile.Secret{s})
}

func (n *newRealm) tellNotes(cmd *cobra.Command) {
	for _, note := range n.notes {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", inLine(note))
	}
}

// create shows what will be saved, saves it, and tries it out.
func (f *realmNewFlags) create(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, out output, n *newRealm) error {
	var refused *apiclient.RefusedError
	switch err := c.JSON(ctx, http.MethodGet, realmPath(n.realm.ID), nil, nil); {
	case err == nil:
		return fmt.Errorf("realm %s exists: choose another --id, or add a secret with caddy tokens secret set", printable(n.realm.ID))
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
		return fmt.Errorf("realm %s was created, but not its secret: %w; caddy tokens secret set %[1]s %[3]s", printable(n.realm.ID), err, printable(n.key))
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
		err = out.line("realm %s was created with the secret %s; caddy tokens test %[1]s %[2]s tries it out", printable(n.realm.ID), printable(n.key))
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
