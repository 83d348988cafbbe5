package sdks

import (
	"slices"
	"strings"
	"testing"
)

// stumble is a program of the page that does what the page warns of.
type stumble struct {
	program snippet
	// printed is the beginning of what it prints.
	printed string
	// stderr is a part of why it fails. With none it does not fail.
	stderr string
	// complaint is the beginning of what a provider says of it.
	complaint string
}

func (s stumble) run(t *testing.T, p *proxy) {
	t.Helper()
	stdout, stderr, err := s.program.run(t, p.env()...)
	if !strings.HasPrefix(stdout, s.printed) || (err != nil) != (s.stderr != "") || !strings.Contains(stderr, s.stderr) {
		t.Errorf("it printed %q: %v\n%s", stdout, err, stderr)
	}
	complaints := p.taken()
	if s.complaint == "" && len(complaints) > 0 || s.complaint != "" &&
		!slices.ContainsFunc(complaints, func(c string) bool { return strings.HasPrefix(c, s.complaint) }) {
		t.Errorf("the providers say %q", complaints)
	}
}

// What the page warns of happens to its programs, if they do not do what it says.
func TestStumbles(t *testing.T) {
	p := newProxy(t, caddyfile(t))
	for name, s := range map[string]stumble{
		"octokit uploads to another host": {
			program: named(t, "octokit").but(t, "  baseUrl: `${proxy}/uploads`,\n",
				"  request: { fetch: (url) => { console.log(new URL(url).host); process.exit(); } },\n"),
			printed: "octo/hello\n[ 'issue 1', 'issue 2' ]\nuploads.github.com\n",
		},
		"go-github adds api/v3": {
			program: named(t, "go-github").but(t, `github.WithURLs(github.Ptr(proxy+"/github/main/"), github.Ptr(proxy+"/uploads/"))`,
				`github.WithEnterpriseURLs(proxy+"/github/main/", proxy+"/uploads/")`),
			stderr:    "404",
			complaint: "GitHub has no GET /api/v3/repos/octo/hello",
		},
		"googleapis loses the path": {
			program: named(t, "googleapis").but(t, "auth: client }", "auth: client, rootUrl: `${process.env.PROXY_URL}/google/main/` }").
				but(t, "{ pageSize: 10 }, byProxy", "{ pageSize: 10 }"),
			stderr: "404",
		},
		"googleapis uploads past the proxy": {
			program: named(t, "googleapis").but(t, "auth: client }", "auth: client, rootUrl: process.env.GOOGLE_PROXY_URL }").
				but(t, "{ pageSize: 10 }, byProxy", "{ pageSize: 10 }").
				but(t, "\n}, byProxy);", "\n}, { fetchImplementation: (url) => { console.log(new URL(url).host); process.exit(); } });"),
			printed: "[ 'plan', 'budget' ]\nwww.googleapis.com\n",
		},
		"an upload in Go leaves the path": {
			program: named(t, "googleapi").but(t, `os.Getenv("GOOGLE_PROXY_URL")+"/drive/v3/"`,
				`os.Getenv("PROXY_URL")+"/google/main/drive/v3/"`),
			printed: "plan\nbudget\n",
			stderr:  "404",
		},
		"a key in x-api-key": {
			program: named(t, "anthropic").but(t, "  authToken: process.env.PROXY_KEY,\n",
				"  authToken: \"none\",\n  defaultHeaders: { \"x-api-key\": process.env.PROXY_KEY, Authorization: null },\n"),
			stderr: "only clients are served",
		},
		"a second credential": {
			program: named(t, "anthropic").but(t, "  authToken: process.env.PROXY_KEY,\n",
				"  authToken: process.env.PROXY_KEY,\n  defaultHeaders: { \"x-api-key\": \"sk-ant-none\" },\n"),
			printed: "Hello.\n",
		},
		"Lark fetches a token": {
			program: named(t, "lark").but(t, "  disableTokenCache: true,\n", ""),
			stderr:  "403",
		},
		"Lark fetches a token in Go": {
			program: named(t, "lark-go").but(t, "lark.WithEnableTokenCache(false)", "lark.WithEnableTokenCache(true)"),
			stderr:  "cannot unmarshal string into Go struct field TenantAccessTokenResp.CodeError.code",
		},
	} {
		t.Run(name, func(t *testing.T) { s.run(t, p) })
	}
}

// Without rewrite_links an SDK follows links and redirects past the proxy: a link
// with the client's key, and a redirect with no credential.
func TestLinksPastTheProxy(t *testing.T) {
	// The preset has rewrite_links: this is the realm of somebody who writes his own.
	const preset, ownRealm = "\t\t\tpreset github_app\n", `
			api https://api.github.com
			fetch POST https://api.github.com/app/installations/4711/access_tokens {
				token_path token
			}
			inject header Authorization "Bearer {token}"
`
	for name, c := range map[string]struct {
		this, that string
		stumble
	}{
		"octokit redirected": {preset, ownRealm, stumble{
			program:   named(t, "octokit"),
			stderr:    "Bad credentials",
			complaint: "GitHub refuses GET /repositories/1: Authorization is []",
		}},
		"octokit's next page": {preset, ownRealm, stumble{
			program:   named(t, "octokit").but(t, "const { data: repo } = await octokit.rest.repos.get(hello);\nconsole.log(repo.full_name);\n", ""),
			stderr:    "Bad credentials",
			complaint: "GitHub got the client's key with GET /repositories/1/issues",
		}},
		"googleapi's parts": {"\t\t\trewrite_links\n", "", stumble{
			program:   named(t, "googleapi"),
			printed:   "plan\nbudget\n",
			stderr:    "401",
			complaint: "Google got the client's key with POST /upload/drive/v3/files",
		}},
	} {
		t.Run(name, func(t *testing.T) { c.run(t, newProxy(t, strings.Replace(caddyfile(t), c.this, c.that, 1))) })
	}
}
