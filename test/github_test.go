package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-github/v89/github"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// githubAPI is a part of GitHub's API, with the answers of its documentation
// (docs.github.com/rest: repos/get, issues/list, releases/upload-asset).
func githubAPI(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/{owner}/{repo}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("repo") == "private" {
			w.WriteHeader(http.StatusNotFound)
			writeJSON(w, map[string]any{"message": "Not Found"})
			return
		}
		writeJSON(w, map[string]any{"full_name": r.PathValue("owner") + "/" + r.PathValue("repo"), "private": true})
	})
	mux.HandleFunc("GET /repos/{owner}/{repo}/issues", func(w http.ResponseWriter, r *http.Request) {
		n := 1
		if r.URL.Query().Get("page") == "2" {
			n = 2
		} else {
			w.Header().Set("Link", `<https://api.github.com/repositories/1/issues?page=2&per_page=1>; rel="next", `+
				`<https://api.github.com/repositories/1/issues?page=2&per_page=1>; rel="last"`)
		}
		writeJSON(w, []any{map[string]any{"number": n, "title": fmt.Sprint("issue ", n)}})
	})
	mux.HandleFunc("POST /repos/{owner}/{repo}/releases/{id}/assets", func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, image) || r.ContentLength != int64(len(image)) {
			t.Errorf("the upload changed: %d bytes, announced %d, %v", len(got), r.ContentLength, err)
		}
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, map[string]any{"id": 7, "name": r.URL.Query().Get("name"), "state": "uploaded", "size": len(got)})
	})
	return mux
}

// newGitHub points the SDK at the proxy by its base URLs. As at GitHub, API and
// uploads have hosts of their own; both may get the realm's fixed token.
func newGitHub(t *testing.T) (*github.Client, *fakeprovider.Provider) {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"person": "password-01"}, API: githubAPI(t)})
	api, uploads := p.Start(t), p.Start(t)
	token := personalToken(t, p)
	n := launch(t, config{
		tokens: fmt.Sprintf(`realm github {
	api %s
	hosts %s %s
	allow_http on
	grant static
	inject header Authorization "Bearer {token}"
	secret main {
		token {env.GITHUB_TOKEN}
	}
}`, api, host(api), host(uploads)),
		proxy: tokenProxy("/github", "github") + fmt.Sprintf(
			"handle_path /uploads/* {\n\ttoken_proxy %s {\n\t\trealm github\n\t\tkey main\n\t}\n}\n", uploads),
	}.caddyfile, "GITHUB_TOKEN="+token)
	n.keepsSecret(p, token)
	client, err := github.NewClient(github.WithURLs(github.Ptr(n.proxy+"/github/"), github.Ptr(n.proxy+"/uploads/")))
	if err != nil {
		t.Fatal(err)
	}
	return client, p
}

// personalToken is a token that a person made: the ledger knows it.
func personalToken(t *testing.T, p *fakeprovider.Provider) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"person"}, "client_secret": {"password-01"}}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	p.ServeHTTP(httptest.NewRecorder(), req)
	if p.Newest() == "" {
		t.Fatal("no token was made")
	}
	return p.Newest()
}

func TestGitHubSDKReadsAndPages(t *testing.T) {
	client, p := newGitHub(t)
	repo, _, err := client.Repositories.Get(within(t), "octo", "hello.world")
	if err != nil || repo.GetFullName() != "octo/hello.world" || !repo.GetPrivate() {
		t.Fatalf("got %v, %v", repo, err)
	}
	var titles []string
	opts := &github.IssueListByRepoOptions{ListOptions: github.ListOptions{PerPage: 1}}
	for {
		issues, resp, err := client.Issues.ListByRepo(within(t), "octo", "hello", opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, issue := range issues {
			titles = append(titles, issue.GetTitle())
		}
		if resp.NextPage == 0 {
			break
		}
		opts.ListOptions.Page = resp.NextPage
	}
	if strings.Join(titles, ",") != "issue 1,issue 2" {
		t.Errorf("got %v", titles)
	}
	if p.Calls() != 3 || len(p.DeadCalls()) != 0 {
		t.Errorf("ledger: %d calls, dead %+v", p.Calls(), p.DeadCalls())
	}
}

func TestGitHubSDKUploadsAReleaseAsset(t *testing.T) {
	client, p := newGitHub(t)
	path := filepath.Join(t.TempDir(), "asset.bin")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path) // #nosec G304 -- written above
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	asset, _, err := client.Repositories.UploadReleaseAsset(within(t), "octo", "hello", 3, &github.UploadOptions{Name: "a b&c.bin"}, file)
	if err != nil || asset.GetName() != "a b&c.bin" || asset.GetSize() != len(image) {
		t.Fatalf("got %v, %v", asset, err)
	}
	if p.Calls() != 1 || len(p.DeadCalls()) != 0 {
		t.Errorf("ledger: %d calls, dead %+v", p.Calls(), p.DeadCalls())
	}
}

func TestGitHubSDKSeesTheProvidersRefusal(t *testing.T) {
	client, _ := newGitHub(t)
	_, _, err := client.Repositories.Get(within(t), "octo", "private")
	var refusal *github.ErrorResponse
	if !errors.As(err, &refusal) || refusal.Response.StatusCode != http.StatusNotFound || refusal.Message != "Not Found" {
		t.Errorf("got %v", err)
	}
}
