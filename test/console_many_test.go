package test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	manyRealms     = 1_000
	secretsOfRealm = 10
	// Most are in the Caddyfile: to make them all by the API takes half a minute.
	inDatabase = 100
	// A list asks for itself, and for what stands beside it, once: not once a row.
	mostRequests = 10
	// No answer is larger, however much there is.
	mostBytes  = 1 << 20
	rowsAtOnce = 20
)

// With 1,000 realms and 10,000 secrets, a list is a few small answers and one page of
// rows. How long it takes is printed, and judged by people: it depends on the machine.
func TestConsoleMany(t *testing.T) {
	var realms []string
	for i := range manyRealms - inDatabase {
		realms = append(realms, inCaddyfile(i))
	}
	c := launchConsole(t, realms...)
	for i := manyRealms - inDatabase; i < manyRealms; i++ {
		c.makeRealm(i)
	}
	b := c.openConsole(english)
	b.signIn(c.token)
	b.eventually("the lists are loaded ahead", func() bool { return b.count(isCode("secrets")) > 0 && b.count(isCode("realms")) > 0 })
	b.settle()

	lists := []struct {
		path, search, onPage40 string
		row                    *regexp.Regexp
	}{
		{"secrets", "secrets:search", manyKey(78, 0), regexp.MustCompile(`^key-\d{4}-\d$`)},
		{"realms", "realms:search", "realm-0780", regexp.MustCompile(`^realm-\d{4}$`)},
	}
	for _, l := range lists {
		rows := func(n int) func() bool {
			return func() bool { return b.rows(l.row) == n }
		}
		code := b.count(isCode(""))
		b.measure(l.path+", the first page", func() {
			b.t.Logf("%s, the first page: its rows are drawn after %.0f ms, by the clock of the page", l.path, b.untilRows(l.path, l.row))
			b.settle()
			b.eventually("there are rows", rows(rowsAtOnce))
		})
		if more := b.count(isCode("")) - code; more > 0 {
			b.t.Errorf("%s: %d files of code are loaded only now", l.path, more)
		}
		b.measure(l.path+", page 40", func() {
			b.t.Logf("%s, page 40: its rows are drawn after %.0f ms, by the clock of the page", l.path, b.untilRows(l.path+"?page=40", l.row))
			b.settle()
			b.the("link", l.onPage40)
			b.eventually("there are rows", rows(rowsAtOnce))
		})
		b.measure(l.path+", a search", func() {
			b.fillIn("searchbox", b.say(l.search), "0777")
			b.key("\r")
			b.eventually("one realm is left", func() bool { n := b.rows(l.row); return n == 1 || n == secretsOfRealm })
		})
	}
	b.measure("the overview", func() { b.visit("") })
	b.measure("one secret", func() { b.visit("secrets/realm-0777/key-0777-7") })
	b.measure("the accounts", func() { b.visit("accounts") })
	b.measure("the realms to choose from", func() {
		b.visit("secrets/new")
		b.press("combobox", b.say("secrets:realm"))
		b.the("option", "realm-0000")
	})
}

// isCode are the files of code whose name begins so.
func isCode(name string) func(*exchange) bool {
	return func(x *exchange) bool {
		return strings.Contains(x.url, "/assets/"+name) && strings.HasSuffix(x.url, ".js")
	}
}

// rows are those of a list whose first cell is a link.
func (b *tab) rows(name *regexp.Regexp) (n int) {
	b.t.Helper()
	seen := map[string]bool{}
	for _, e := range b.all("link") {
		if name.MatchString(e.name) && !seen[e.name] {
			seen[e.name] = true
			n++
		}
	}
	return n
}

// untilRows goes to a page of a list, and returns how many milliseconds pass until all
// its rows are drawn: without what the test itself takes to look at the page.
func (b *tab) untilRows(path string, name *regexp.Regexp) float64 {
	b.t.Helper()
	return awaited[float64](b, fmt.Sprintf(`new Promise((done) => {
	const name = new RegExp(%s);
	const names = () => [...document.querySelectorAll('main a')].map((a) => a.textContent).filter((text) => name.test(text));
	const before = names().join();
	const began = performance.now();
	const look = () => {
		const now = names();
		if (now.length < %d || now.join() === before) return requestAnimationFrame(look);
		requestAnimationFrame(() => done(performance.now() - began));
	};
	location.hash = %s;
	look();
})`, jsonText(name.String()), rowsAtOnce, jsonText("#/"+path)))
}

// measure expects that a step asks little, and prints how long it took.
func (b *tab) measure(what string, step func()) {
	b.t.Helper()
	isAPI := func(x *exchange) bool { return strings.HasPrefix(x.url, b.site+"api/") && !isWatch(x.url) }
	before := b.count(isAPI)
	began := time.Now()
	step()
	b.settle()
	took := time.Since(began)
	asked := b.count(isAPI) - before
	var largest exchange
	b.count(func(x *exchange) bool {
		if isAPI(x) && x.size > largest.size {
			largest = *x
		}
		return false
	})
	b.t.Logf("%s: %s, %d requests; the largest answer so far, of %s, has %d bytes",
		what, took.Round(time.Millisecond), asked, largest.path(b.site), largest.size)
	if asked > mostRequests {
		b.t.Errorf("%s: %d requests", what, asked)
	}
	if n := b.count(func(x *exchange) bool { return isAPI(x) && x.size > mostBytes }); n > 0 {
		b.t.Errorf("%s: %d answers are larger than %d bytes", what, n, mostBytes)
	}
}

// manyKey is the j-th secret of the i-th realm.
func manyKey(i, j int) string { return fmt.Sprintf("key-%04d-%d", i, j) }

// inCaddyfile is a realm as a Caddyfile has it.
func inCaddyfile(i int) string {
	var text strings.Builder
	fmt.Fprintf(&text, `realm realm-%04d {
	api http://127.0.0.1:9
	allow_http on
	grant client_credentials {
		token_url http://127.0.0.1:9/oauth2/token
	}
	inject header Authorization "Bearer {token}"
`, i)
	for j := range secretsOfRealm {
		fmt.Fprintf(&text, "\tsecret %s {\n\t\tclient_id a\n\t\tclient_secret some-secret-01\n\t}\n", manyKey(i, j))
	}
	text.WriteString("}")
	return text.String()
}

// makeRealm makes one by the API.
func (c *consoleNode) makeRealm(i int) {
	c.t.Helper()
	realm := fmt.Sprintf("realm-%04d", i)
	c.post("/api/realm", map[string]any{"id": realm, "config": oauthConfig("http://127.0.0.1:9")})
	for j := range secretsOfRealm {
		c.post("/api/secret", map[string]any{"realm": realm, "key": manyKey(i, j), "fields": map[string]any{"client_id": "a", "client_secret": "some-secret-01"}})
	}
}
