package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// canaryUser is a user with the password canaryPassword.
const (
	canaryPassword = canary + "-password"
	canaryUser     = `basic_auth {
	alice $2a$04$kq9QIRiYH8FvHIaO1fYgb.jKFOLu/kv4sOfFJmPibOGaHuSjZEfni
}
`
)

// TestNothingLeaksOfCallers: whatever a caller shows of itself, right or wrong,
// in its place or not, is nowhere afterwards, and does not go to the API.
func TestNothingLeaksOfCallers(t *testing.T) {
	p, i, stderr := newProvider(t), newInstance(t), captureStderr(t)
	withoutCredentials(t)
	var upstream strings.Builder
	var mu sync.Mutex
	p.api = func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(&upstream, r.URL.Path, r.Header)
	}
	i.config, i.servers = freeAddress(t), "trusted_proxies static 127.0.0.1/32"
	file := filepath.Join(i.dir, "key")
	writeFile(t, file, ownKey+"-of-a-file\n")
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	t.Setenv("TOKENS_TEST_ADMIN", canary+"-admin-0123456789abcdef0123456789")
	site := proxyMain + longMain(p) + "\n" + guarded + `
		handle_path /env/* {
			token_admin {
				admin_token {env.TOKENS_TEST_ADMIN}
			}
		}
		handle_path /user/* {
			` + canaryUser + `
			token_gateway
		}
		handle_path /operator/* {
			` + canaryUser + `
			token_admin
		}`
	// Caddy itself logs, at DEBUG, every header but those in which a key belongs,
	// where handle_path stands in front, or reverse_proxy around. So these stand
	// alone.
	alone, sites := openSites(t, i, map[string]string{"gateway": "log\ntoken_gateway", "admin": "log\ntoken_admin"})
	blocks := p.realm("p", "inject query access_token") + p.realm(planted, "inject query access_token")
	i.load(strings.ReplaceAll(blocks, canary+"-secret", "{env.TOKENS_TEST_SECRET}")+clientBlock(t, "allow use,flush,admin p")+
		"\nclient filed {\nkey {file."+file+"}\nallow use p\n}\naudit {\nrequests\n}", site+"\n"+sites)
	i.plant()

	keys, foreign := i.someKeys()
	answers, sent, statuses := "", 0, map[int]int{}
	send := func(method, url, body string, header ...string) {
		sent++ // each from another address, of which none has to wait
		a := i.do(method, "http://"+url, body, append([]string{"Content-Type", "application/json", "X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", sent/256, sent%256)}, header...)...)
		answers += fmt.Sprintln(method, a.Status, a.Header) + a.body + "\n"
		statuses[a.StatusCode]++
	}
	others := []string{ownKey, ownKey + "-of-a-file", ownKey + "-wrong", i.adminToken(), os.Getenv("TOKENS_TEST_ADMIN"), canaryPassword}
	for _, path := range []string{
		"/p/x", "/any/p/main/x", "/any/nope/main/x", "/long/x", "/user/p/main/x", "/admin/api/status",
		"/admin/api/token?realm=nope&key=main", "/env/api/realm", "/operator/api/status", "/admin/p-account/get-access-token", "/admin/elsewhere",
	} {
		for _, credential := range slices.Concat(others, keys, foreign) {
			for _, name := range credentialHeaders {
				send(http.MethodGet, i.host+path, "", name, "Bearer "+credential)
				send(http.MethodPost, i.host+path, `{"x":`, name, "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:"+credential)))
			}
		}
	}
	for _, url := range []string{alone["gateway"] + "/p/main/x", alone["admin"] + "/api/status", alone["admin"] + "/p-account/callback-token"} {
		for _, key := range append(keys, foreign[0]) { // whose checksum is right: a key for certain
			for _, misplaced := range misplacements(key) {
				send(http.MethodGet, url+misplaced.path, "", misplaced.header...)
			}
		}
	}
	for _, key := range []string{keys[0], foreign[0]} { // in the place of something else
		for path, body := range map[string]string{
			"/api/client": `{"id": "new", "key": %q}`, "/api/client/billing/rotate": `{"keep": %q}`, "/api/secret": `{"realm": "p", "key": "main", "expires_at": %q}`,
			"/api/explain": `{"client": "app", "realm": "p", "key": "main", "path": "/%s"}`, "/api/token": `{"realm": "p", "key": "main", "rejected": %q}`,
		} {
			send(http.MethodPost, i.host+"/env"+path, fmt.Sprintf(body, key), withKey(os.Getenv("TOKENS_TEST_ADMIN"))...)
		}
	}
	i.must(http.MethodDelete, "/api/client/gone", "")
	verbs, made := i.runVerbs(keys[0])
	for _, status := range []int{200, 400, 401, 403, 404} {
		if statuses[status] < 5 {
			t.Errorf("%d answers are %d", statuses[status], status)
		}
	}
	if statuses[http.StatusTooManyRequests] > 0 || !strings.Contains(i.log(), "a wrong API key was sent") {
		t.Errorf("%d requests had to wait, or the log does not tell of wrong keys", statuses[http.StatusTooManyRequests])
	}

	all := i.sinks(file, i.adminPath())
	all["the answers"], all["the verbs"] = answers+planted, verbs
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	secrets := slices.Concat([]string{i.adminToken()}, keys, foreign, made)
	all.wantNoSecret(t, append(secrets, canary)...)
	i.get("/any/"+planted+"/main/"+planted, withKey(keys[len(keys)-1])...)
	sinks{"what the API was sent": upstream.String()}.wantNoSecret(t, append(secrets, others...)...)
}

// misplaced is a key where none may stand.
type misplaced struct {
	path   string // more of it
	header []string
}

func misplacements(key string) []misplaced {
	user := "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":x"))
	return []misplaced{
		{"?api_key=" + key, nil},
		{"?" + key, nil},
		{"?key=" + url.QueryEscape("x "+key), nil},
		{"/" + key, nil},
		{"", []string{"X-Api-Key", key}},
		{"", []string{"Cookie", "key=" + key}},
		{"", []string{"Referer", "https://example.com/?key=" + key}},
		{"", []string{"User-Agent", key}},
		{"", []string{"X-Forwarded-For", key}},
		{"", []string{"Authorization", key}},
		{"", []string{"Authorization", "ApiKey " + key}},
		{"", []string{"Authorization", user}},
	}
}

// someKeys are keys that are good, replaced, or of a client that will be gone;
// and some that look like keys and never were ours, of which the first has a
// right checksum.
func (i *instance) someKeys() (keys, foreign []string) {
	i.t.Helper()
	const rules = `"rules": [{"effect": "allow", "rights": ["use", "flush", "admin_read", "audit"], "realms": ["*"]}]}`
	keys = append(keys, i.createClient(`{"id": "gone", `+rules), i.createClient(`{"id": "billing", `+rules))
	for _, keep := range []string{`{"keep": "24h"}`, `{}`, `{"keep": "1h"}`} {
		var rotated struct{ Key string }
		if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client/billing/rotate", keep)), &rotated); err != nil {
			i.t.Fatal(err)
		}
		keys = append(keys, rotated.Key)
	}
	unknown, _ := access.NewKey()
	foreign = []string{unknown.Reveal(), unknown.Reveal()[:52] + "_", "ctk_" + ownKey}
	return keys, foreign
}

// runVerbs runs every verb that speaks to the instance, and returns what each
// shows, but for new keys on standard output. The key is one of no use.
func (i *instance) runVerbs(key string) (shown string, made []string) {
	i.t.Helper()
	run := func(args ...string) (stdout string) {
		stdout, stderr, err := tokens(i.t, args...)
		shown += fmt.Sprintln(stderr, err)
		return stdout
	}
	token, wrong := filepath.Join(i.t.TempDir(), "token"), filepath.Join(i.t.TempDir(), "wrong")
	writeFile(i.t, token, i.adminToken()+"\n")
	writeFile(i.t, wrong, canary+" and more\nthan a token\n")
	base := "http://" + i.host + "/admin"
	api := []string{"--api", base, "--api-token-file", token}
	for _, args := range [][]string{{"client", "add", "by-verb", "--allow", "use p"}, {"client", "rotate", "by-verb", "--keep", "1h"}} {
		made = append(made, strings.TrimSpace(run(append(args, api...)...)))
		if err := access.CheckKey(made[len(made)-1]); err != nil {
			i.t.Errorf("%q: %v\n%s", args, err, shown)
		}
	}
	backup := filepath.Join(i.t.TempDir(), "backup")
	verbs := [][]string{
		{"client", "list"},
		{"client", "show", planted},
		{"client", "delete", "by-verb"},
		{"explain", "--client", planted, "--realm", planted, "--key", "main", "--path", "/x"},
		{"explain", "--client", "app", "--realm", "p", "--key", "main", "--json"},
		{"audit", "verify"},
		{"audit", "export"},
		{"backup", "--file", backup},
		{"keys", "rotate"},
		{"keys", "rotate", "--json"},
	}
	for _, args := range verbs {
		shown += run(append(args, api...)...)
	}
	for _, args := range verbs { // with what is wrong, or in the wrong place
		for _, wrongly := range [][]string{
			{"--api", "http://" + i.host + "/operator"},
			{"--api", "http://" + i.host + "/elsewhere"},
			{"--api", base, "--api-token-file", wrong},
			{"--api", "http://alice:" + canaryPassword + "@" + i.host + "/admin"},
			{"--api", base + "?key=" + key},
			{"--api", "http://[" + canary},
			{"--api", canary + "://x"},
		} {
			for name, value := range map[string]string{"TOKENS_API_TOKEN": key, "TOKENS_API_USER": "alice", "TOKENS_API_PASSWORD": canaryPassword} {
				i.t.Setenv(name, value)
				shown += run(append(args, wrongly...)...)
			}
			withoutCredentials(i.t)
		}
	}
	return shown + contentOf(i.t, backup), made
}
