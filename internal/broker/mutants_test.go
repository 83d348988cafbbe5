package broker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutant is a mistake in the protocol that the model has to find.
type mutant struct {
	name string
	// breaks are the invariants of which one is found broken; of a unit mutant, the
	// test that fails.
	breaks string
	edits  []edit
}

// unitMutant is a mistake that a test in a package finds.
type unitMutant struct {
	pkg string
	mutant
}

// edit replaces what occurs exactly once in a file of this package, or of one
// beside it.
type edit struct{ file, old, by string }

// mutants are those of the protocol's design; where a mistake can be made in
// two ways there are both. One of its nine is among the mutants of
// authorizations: "delete state after exchange". The last ones show that the
// invariants which those do not break can be broken, too.
var mutants = []mutant{
	{"drop intent", "I2", []edit{{"../claim/decide.go", "\tr.writeClaim(s, d)\n\treturn d\n", "\treturn d\n"}}},
	{"blind write", "I4 I5", []edit{{"../claim/settle.go", parentCheck, ""}}},
	{"fence reject: a token that is late", "I5", []edit{{"../claim/settle.go", parentCheck, "\tif s.Token.Lineage != o.Parent {\n\t\treturn\n\t}\n"}}},
	{"fence reject: a claim that is void", "I5", []edit{{"../claim/settle.go", "\tswitch {\n\tcase c.Dropped == id:", "\tif c.ID != id {\n\t\treturn\n\t}\n\tswitch {\n\tcase c.Dropped == id:"}}},
	{"publish before persist", "I6 I9", []edit{{"save.go", "\ts, err := a.settle(ctx, o)\n\tif err != nil {\n\t\ta.entry.keepUnsaved", "\t_, _ = a.publish(a.pool.local(o.Token), realm.FromUpstream, 0)\n\ts, err := a.settle(ctx, o)\n\tif err != nil {\n\t\ta.entry.keepUnsaved"}}},
	{"publish without persist", "I6", []edit{{"outage.go", ` || token.Refresh != "" || o.Request.CanRefresh`, ""}}},
	{"dead on first invalid_grant: one is on its way", "I7", []edit{{"../claim/decide.go", "!c.Doubt.At.IsZero() && left > 0 {", "false && left > 0 {"}}},
	{"lease < deadline", "I1 I2 I7", []edit{{"../claim/claim.go", "return t.Timeout + Margin }", "return t.Timeout / 4 }"}}},
	{"retry POST", "I2", []edit{{"../grant/client.go", "\tif err != nil {\n\t\treturn nil, err\n\t}\n\tdefer func() { _ = resp.Body.Close() }()", `
	if err != nil && ctx.Err() == nil {
		if req, err = out.request(w.watch(ctx)); err == nil {
			resp, err = transport.RoundTrip(req)
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()`}}},
	{"cancel flight with leader", "I10", leaderCancels},
	{"cancel call with leader", "I5 I10", append([]edit{{"send.go", "\tctx = context.WithoutCancel(ctx)\n\tclient, req", "\tclient, req"}}, leaderCancels...)},

	{"repeat at once", "I3", []edit{{"../claim/wait.go", "\tif s.Claim.Doubt.Count > 1 {\n\t\treturn t.ExpiresAt\n\t}\n", "\tif s.Claim.Doubt.Count > 0 {\n\t\treturn time.Time{}\n\t}\n"}}},
	{"serve beyond the end", "I8", []edit{{"entry.go", "now < l.lease.Expires-realm.Instant(slack/time.Microsecond)", "now < l.lease.Expires+realm.Instant(slack/time.Microsecond)"}}},
	{"publish of an older secret", "I9", []edit{{"save.go", "\tif err := a.checkSecret(ctx); err != nil {\n\t\treturn nil, err\n\t}\n", ""}, {"save.go", "\tcase claim.OnlyRefreshToken:\n\t\treturn nil, errStale\n", "\tcase claim.OnlyRefreshToken:\n"}, {"attempt.go", "t.Fingerprint == a.bound.Fingerprint() &&", "true &&"}}},
	{"no budget", "I11", []edit{{"../claim/wait.go", "\twaitFor(quota.WaitFor(&s.Budget, r.Windows, now, inFlight), QuotaScope, tokenstore.Failure{})\n", ""}}},
}

// unitMutants are mistakes that histories seldom show, or that break no invariant and
// only cost time. A test of its own finds each at once.
var unitMutants = []unitMutant{
	{"../claim", mutant{"dead on first invalid_grant: others are left", "TestDecide", []edit{{"../claim/decide.go", "\t\tif r.mayRefresh(candidate.Kept) {\n", "\t\tif false {\n"}}}},
	{".", mutant{"place given back before the outcome is queued", "TestPlaceIsFreeWhileTheOutcomeIsSaved", []edit{{"save.go", "\t\tctx = tokenstore.WithQueued(ctx, a.leaveSlot)\n", "\t\ta.leaveSlot()\n"}}}},
}

// sooner are the seeds of histories that find what takes others dozens of
// histories, or a thousand. They are right for this model: after a change of it
// they are as good as any other, and what they found is found later.
var sooner = map[string]uint64{
	"blind write":                                    3000587,
	"fence reject: a token that is late":             4000770,
	"fence reject: a claim that is void":             2000029,
	"publish without persist":                        2003764,
	"dead on first invalid_grant: one is on its way": 2000029,
	"lease < deadline":                               2000029,
	"cancel flight with leader":                      1011496,
	"cancel call with leader":                        2000029,
	"publish of an older secret":                     5000047,
	"callback to any realm":                          4000219,
	"code of another secret":                         3000036,
	"consent set aside":                              4000050,
	"kept beside a new consent":                      2010608,
	"trouble kept after a consent":                   3167357,
}

const parentCheck = "\tif s.Token.Lineage != o.Parent && !r.IsByPerson() {\n\t\tsaveLate(s, t)\n\t\treturn\n\t}\n"

// leaderCancels gives a flight the context of the caller who began it.
var leaderCancels = []edit{
	{"flight.go", "type flight struct {\n\tgoal\n", "type flight struct {\n\tgoal\n\tleader context.Context\n"},
	{"flight.go", "f, isOurs := v.joinOrStart(c, ref, g, payer)", "f, isOurs := v.joinOrStart(ctx, c, ref, g, payer)"},
	{"flight.go", "joinOrStart(c *catalog.Realm, ref", "joinOrStart(ctx context.Context, c *catalog.Realm, ref"},
	{"pool.go", "v.joinOrStart(c, ref, goal{", "v.joinOrStart(context.Background(), c, ref, goal{"},
	{"flight.go", "\t\tf := newFlight(c, g)\n", "\t\tf := newFlight(c, g)\n\t\tf.leader = ctx\n"},
	{"flight.go", "context.WithTimeout(withBudget(base), v.flightTimeout(f.owner))", "context.WithTimeout(withBudget(leaderOf(f, base)), v.flightTimeout(f.owner))"},
	{"flight.go", "// finish ends a flight", "func leaderOf(f *flight, base context.Context) context.Context {\n\tif f.leader != nil {\n\t\treturn f.leader\n\t}\n\treturn base\n}\n\n// finish ends a flight"},
}

// TestMutants: the model finds every mistake, and says which invariant it
// breaks. The engine is built with the mistake by an overlay; without the
// tests of this package that the model does not need, which is quicker. The
// histories are the same ones each time, and their number is the only bound:
// on a slow machine it takes longer, and finds the same. One mutant for each
// invariant is run, and all of them with MUTANTS=all, as in `make soak`: each is a
// program of its own to be linked.
func TestMutants(t *testing.T) {
	t.Parallel()
	for _, m := range unitMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"test", "-count=1", "-vet=off", "-timeout=" + timeLeft(t), "-overlay=" + m.overlay(t, nil), "-run=^" + m.breaks + "$", m.pkg}
			out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput() // #nosec G204 -- constants
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+m.breaks) {
				t.Fatalf("%s does not find it: %v\n%s", m.breaks, err, out)
			}
		})
	}
	for test, list := range map[string][]mutant{"TestProtocol": mutants, "TestAuthorizations": authorizationMutants} {
		if os.Getenv("MUTANTS") != "all" {
			list = oneOfEach(list)
		}
		for _, m := range list {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				m.isFound(t, test)
			})
		}
	}
}

// oneOfEach are the first mutants that break each of the invariants.
func oneOfEach(list []mutant) (first []mutant) {
	seen := map[string]bool{}
	for _, m := range list {
		if invariant, _, _ := strings.Cut(m.breaks, " "); !seen[invariant] {
			seen[invariant] = true
			first = append(first, m)
		}
	}
	return first
}

// TestMutantsFit tells within a moment which of them a change of the engine has
// left behind: a seed of none would help nobody, either.
func TestMutantsFit(t *testing.T) {
	seeds := maps.Clone(sooner)
	for _, m := range slices.Concat(mutants, authorizationMutants) {
		m.overlay(t, nil)
		delete(seeds, m.name)
	}
	for _, m := range unitMutants {
		m.overlay(t, nil)
	}
	for name := range seeds {
		t.Errorf("no mutant is called %q", name)
	}
}

// isFound runs a test of the model with the mutant.
func (m mutant) isFound(t *testing.T, by string) {
	t.Helper()
	args := []string{"test", "-count=1", "-vet=off", "-timeout=" + timeLeft(t), "-overlay=" + m.overlay(t, testsBesideTheModel(t)), "-run=^" + by + "$", ".", "-args"}
	args = append(args, fmt.Sprint("-rapid.seed=", cmp.Or(sooner[m.name], 1)), "-rapid.checks=30000", "-rapid.nofailfile", "-rapid.shrinktime=1ms")
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput() // #nosec G204 -- constants
	broken := regexp.MustCompile(`[IC]\d+: .*`).FindString(string(out))
	invariant, _, _ := strings.Cut(broken, ":")
	if err == nil || !slices.Contains(strings.Fields(m.breaks), invariant) {
		t.Fatalf("it is not found to break %s: %v\n%s", m.breaks, err, out)
	}
	t.Log(broken)
}

// timeLeft is what the test binary has been given, for one that it runs: that
// one must end first. "0" is no end.
func timeLeft(t *testing.T) string {
	t.Helper()
	end, ok := t.Deadline()
	if !ok {
		return "0"
	}
	return (time.Until(end) * 9 / 10).String()
}

// testsBesideTheModel are the tests of this package that the model does not need.
func testsBesideTheModel(t *testing.T) (files []string) {
	t.Helper()
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(tests, func(file string) bool { return strings.HasPrefix(file, "model_") })
}

// overlay writes the mutated files, and a file that tells go where they are. It
// takes the files of without away.
func (m mutant) overlay(t *testing.T, without []string) string {
	t.Helper()
	dir, replace := t.TempDir(), map[string]string{}
	for _, file := range without {
		replace[absolute(t, file)] = "" // as if it were not there
	}
	text := map[string]string{}
	for _, e := range m.edits {
		if _, ok := text[e.file]; !ok {
			raw, err := os.ReadFile(e.file)
			if err != nil {
				t.Fatal(err)
			}
			text[e.file] = string(raw)
		}
		if n := strings.Count(text[e.file], e.old); n != 1 {
			t.Fatalf("%s holds %d times what is to be replaced: the code has changed, and the mutant has to:\n%s", e.file, n, e.old)
		}
		text[e.file] = strings.Replace(text[e.file], e.old, e.by, 1)
	}
	for file, mutated := range text {
		path := filepath.Join(dir, filepath.Base(file))
		write(t, path, []byte(mutated))
		replace[absolute(t, file)] = path
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	write(t, path, raw)
	return path
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
