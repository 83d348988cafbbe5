package test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// lastPage is how many pages the API has.
const lastPage = 5

// pagedAPI names the next page by an absolute URL, with the token in it.
func pagedAPI(w http.ResponseWriter, r *http.Request) {
	items := "http://" + r.Host + "/v1/items"
	if r.URL.Path == "/v1/latest" {
		http.Redirect(w, r, items+"?page=1", http.StatusFound)
		return
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	if page < lastPage {
		next := fmt.Sprintf("%s?page=%d&access_token=%s&q=a%%20b", items, page+1, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.Header().Set("Link", fmt.Sprintf(`<%s?page=1>; rel="first", <%s>; rel="next"`, items, next))
	}
	writeJSON(w, map[string]int{"page": page})
}

var nextLink = regexp.MustCompile(`<([^>]*)>; rel="next"`)

// follow reads all pages from the first one on, by a client that knows nothing but the
// links, and returns the URLs that it asked.
func follow(t *testing.T, first string) (asked []string, last string) {
	t.Helper()
	for url := first; url != ""; {
		asked = append(asked, url)
		if len(asked) > 2*lastPage {
			t.Fatalf("no end: %q", asked)
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", url, resp.Status)
		}
		last = resp.Request.URL.String()
		url = ""
		if link := nextLink.FindStringSubmatch(resp.Header.Get("Link")); link != nil {
			url = link[1]
		}
	}
	return asked, last
}

// A client that follows the links of the API gets every page through the proxy, with a
// token each, and sees none.
func TestPagesThroughTheProxy(t *testing.T) {
	p := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"app": "password-01"}, API: http.HandlerFunc(pagedAPI),
	})
	api := p.Start(t)
	n := launch(t, config{
		tokens: fmt.Sprintf(`realm paged {
	api %s/v1
	allow_http on
	grant client_credentials {
		token_url %s/oauth2/token
		token_endpoint_auth_method client_secret_post
	}
	inject header Authorization "Bearer {token}"
	rewrite_links on
	secret main {
		client_id app
		client_secret {env.PAGED_SECRET}
	}
}`, api, api),
		proxy: tokenProxy("/paged", "paged") + gateway,
	}.caddyfile, "PAGED_SECRET=password-01")
	for _, front := range []string{"/paged", "/any/paged/main"} {
		for _, begin := range []string{"/items?page=1", "/latest"} {
			asked, last := follow(t, n.proxy+front+begin)
			if len(asked) != lastPage || !strings.HasPrefix(last, n.proxy+front+"/items?page=5") {
				t.Errorf("%s%s: %q, at last %s", front, begin, asked, last)
			}
			for _, url := range asked {
				if !strings.HasPrefix(url, n.proxy+front+"/") || strings.Contains(url, "access_token") {
					t.Errorf("%s leads past the proxy, or shows the token", url)
				}
			}
			if want := n.proxy + front + "/items?page=5&q=a%20b"; asked[lastPage-1] != want {
				t.Errorf("asked %s, want %s", asked[lastPage-1], want)
			}
		}
	}
	if calls := 2*lastPage + 2*(lastPage+1); p.Calls() != calls || len(p.DeadCalls()) != 0 {
		t.Errorf("ledger: %d calls, dead %+v", p.Calls(), p.DeadCalls())
	}
	n.keepsSecret(p, "password-01")
}
