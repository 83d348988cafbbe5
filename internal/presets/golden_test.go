package presets_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// goldenNow is when everything in the golden files happens.
var goldenNow = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// golden is what a preset has to do, as a person wrote it down beside what the
// provider's pages say. Nothing writes these files: what a preset sends is
// typed, so that it is thought about.
type golden struct {
	// Secret and Shared are the fields. A value "@rsa.pem" is the content of
	// testdata/keys/rsa.pem.
	Secret map[string]string `json:"secret"`
	Shared map[string]string `json:"shared"`
	// Parents are the tokens of other credentials that the recipes read, by the
	// realm, which has the name of its preset: {token_of.wecom_suite}. A key is
	// not named.
	Parents map[string]string `json:"parents"`
	// Calls are the token requests that succeed: at least one for each recipe
	// that the realm has.
	Calls []goldenCall `json:"calls"`
	// Refused are answers that refuse a token.
	Refused []goldenRefusal `json:"refused"`
	// Injected are requests of apps, and what the provider gets. They have the
	// token of the last call.
	Injected []goldenInjection `json:"injected"`
	// Dead are answers of the API that refuse the token as such; Alive look
	// similar and do not.
	Dead  []goldenVerdict `json:"dead"`
	Alive []goldenVerdict `json:"alive"`
}

// goldenCall is a token request with its answer.
type goldenCall struct {
	// Recipe: fetch, refresh, authorize or exchange.
	Recipe string `json:"recipe"`
	// Source is the page that has the request and the answer, with the day on
	// which it was read, or "assumed".
	Source string `json:"source"`
	// Callback are the parameters of the callback beside code and state, for an
	// exchange.
	Callback map[string]string `json:"callback"`
	// Force: somebody asked for a new token (flush).
	Force bool `json:"force"`
	// Request is what is sent: the request line, the headers in alphabetical
	// order, and behind an empty line the body. Without one, nothing is sent.
	Request []string     `json:"request"`
	Answer  goldenAnswer `json:"answer"`
	// Token and RefreshToken are what is read from the answer, and the seconds
	// that they live; 0 for no end that is known.
	Token            string `json:"token"`
	ExpiresIn        int64  `json:"expires_in"`
	RefreshToken     string `json:"refresh_token"`
	RefreshExpiresIn int64  `json:"refresh_expires_in"`
}

// goldenRefusal is an answer that refuses a token request.
type goldenRefusal struct {
	Recipe string       `json:"recipe"`
	Source string       `json:"source"`
	Answer goldenAnswer `json:"answer"`
	// Class: hopeless, throttled or retryable; reauth for a refresh token that
	// is not good any more.
	Class string `json:"class"`
	// Code is the provider's own code.
	Code string `json:"code"`
}

// goldenInjection is a request of an app, and what becomes of it.
type goldenInjection struct {
	Request []string `json:"request"`
	Sent    []string `json:"sent"`
}

// goldenVerdict is an answer of the API.
type goldenVerdict struct {
	Source string       `json:"source"`
	Answer goldenAnswer `json:"answer"`
}

// goldenAnswer is an answer. Body is a JSON value that is sent as it stands, or
// a string, which is sent without its quotes.
type goldenAnswer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   json.RawMessage   `json:"body"`
}

// content is the body as it is sent.
func (a goldenAnswer) content(t *testing.T) string {
	t.Helper()
	if len(a.Body) == 0 {
		return ""
	}
	var text string
	if json.Unmarshal(a.Body, &text) == nil {
		return text
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, a.Body); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// What the golden files have where a call needs a value that is random, or comes
// from a person.
const (
	goldenState    = "STATE"
	goldenCode     = "CODE"
	goldenVerifier = "VERIFIER"
	goldenRefresh  = "RT"
)

// readGolden reads the golden file of a preset, strictly.
func readGolden(t *testing.T, name string) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "golden", name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("testdata/golden/%s.json is missing", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := realm.Decode(data, "", &g); err != nil {
		t.Fatalf("testdata/golden/%s.json: %v", name, err)
	}
	return g
}

// fieldValues are the fields of a golden file, with the keys in place of their
// names.
func fieldValues(t *testing.T, fields map[string]string) map[string]realm.Hidden {
	t.Helper()
	values := make(map[string]realm.Hidden)
	for name, value := range fields {
		if file, ok := strings.CutPrefix(value, "@"); ok {
			key, err := os.ReadFile(filepath.Join("testdata", "keys", file))
			if err != nil {
				t.Fatal(err)
			}
			value = string(key)
		}
		values[name] = realm.Hidden(value)
	}
	return values
}

// trial is a preset with the fields of its golden file.
type trial struct {
	golden   golden
	preset   presets.Preset
	config   realm.Config
	program  *grant.Program
	bound    *grant.Bound
	provider *goldenProvider
	client   *grant.Client
	// token is that of the last call.
	token realm.Token
}

// newTrial compiles a preset and binds it.
func newTrial(t *testing.T, name string) *trial {
	t.Helper()
	g := readGolden(t, name)
	p, err := presets.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	config := apply(t, realm.Config{Preset: name, Shared: fieldValues(t, g.Shared)})
	config.Preset = ""
	program, err := grant.Compile(realm.Realm{ID: name, Config: config}, false)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := program.Bind(realm.Secret{Ref: realm.Ref{Realm: name, Key: "main"}, Fields: fieldValues(t, g.Secret)})
	if err != nil {
		t.Fatal(err)
	}
	provider := newGoldenProvider(t)
	client := grant.NewClient(provider.dial, func() time.Time { return goldenNow })
	return &trial{golden: g, preset: p, config: config, program: program, bound: bound, provider: provider, client: client}
}

// Every preset does what its golden file says, over TLS to a provider that takes
// every host name for its own.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range presets.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTrial(t, name)
			s.checkSources(t)
			s.checkCoverage(t)
			for _, c := range s.golden.Calls {
				s.checkCall(t, c)
			}
			for _, r := range s.golden.Refused {
				s.checkRefusal(t, r)
			}
			s.checkUse(t)
		})
	}
}

// A golden file without a preset would be dead text.
func TestEveryGoldenFileHasAPreset(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, isJSON := strings.CutSuffix(filepath.Base(file), ".json")
		if !isJSON || !slices.Contains(presets.Names(), name) {
			t.Errorf("%s belongs to no preset", file)
		}
	}
}

// assumed is the source of an answer that no page has.
const assumed = "assumed"

var sourceForm = regexp.MustCompile(`^https://\S+ \(\d{4}-\d{2}-\d{2}\)$`)

// checkSources holds that every answer has a source, and that what is assumed is
// not presented as a fact.
func (s *trial) checkSources(t *testing.T) {
	t.Helper()
	var sources []string
	for _, c := range s.golden.Calls {
		sources = append(sources, c.Source)
	}
	for _, r := range s.golden.Refused {
		sources = append(sources, r.Source)
	}
	for _, v := range slices.Concat(s.golden.Dead, s.golden.Alive) {
		sources = append(sources, v.Source)
	}
	for _, source := range sources {
		if source != assumed && !sourceForm.MatchString(source) {
			t.Errorf("source %q must be like %q or %q", source, "https://provider.example/page (2026-11-22)", assumed)
		}
	}
	if slices.Contains(sources, assumed) && len(s.preset.Unverified) == 0 {
		t.Error("an answer is assumed, and the preset has nothing under unverified")
	}
}

// checkCoverage holds that the golden file shows all that the realm can do.
func (s *trial) checkCoverage(t *testing.T) {
	t.Helper()
	has := func(recipe string, force bool) bool {
		return slices.ContainsFunc(s.golden.Calls, func(c goldenCall) bool { return c.Recipe == recipe && c.Force == force })
	}
	p := s.program
	for _, need := range []struct {
		needed bool
		recipe string
		force  bool
	}{
		{p.Fetches() && p.CanFetch() && !p.Unattended(), "fetch", false},
		{p.TakesForce(), "fetch", true},
		{p.CanRefresh(), "refresh", false},
		{p.CanAuthorize(), "authorize", false},
		{p.CanAuthorize(), "exchange", false},
	} {
		if need.needed && !has(need.recipe, need.force) {
			t.Errorf("calls has no %s (force: %v)", need.recipe, need.force)
		}
	}
	asks := slices.ContainsFunc(s.golden.Calls, func(c goldenCall) bool { return len(c.Request) > 0 })
	for what, isMissing := range map[string]bool{
		"refused":  asks && len(s.golden.Refused) == 0,
		"injected": len(s.config.Inject) > 0 && len(s.golden.Injected) == 0,
		"dead":     len(s.config.RenewOn) > 0 && len(s.golden.Dead) == 0,
		"alive":    len(s.config.RenewOn) > 0 && len(s.golden.Alive) == 0,
	} {
		if isMissing {
			t.Errorf("the golden file has nothing under %s", what)
		}
	}
}
