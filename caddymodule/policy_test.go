package caddymodule

import (
	"strings"
	"testing"
)

// TestPolicyInFront: whoever decides in front of the proxy, such as
// forward_auth, judges the path that the caller sent. A caller who may use the
// realm q sent /any/q/main/../../other/main/x, Caddy resolved the dots, and the
// request went out with the token of the realm other.
func TestPolicyInFront(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("q", "inject query access_token")+p.realm("other", "inject query access_token"), `
		handle_path /any/* {
			token_gateway
		}
		handle_path /by-path/* {
			token_proxy {
				realm {path.0}
				key {path.1}
			}
		}
		@jd path_regexp jd ^/re/([^/]+)/([^/]+)/
		handle @jd {
			token_proxy {
				realm {re.jd.1}
				key {re.jd.2}
			}
		}
		handle_path /long/* {
			reverse_proxy `+p.URL+` {
				transport token {
					realm {path.0}
					key main
				}
			}
		}
		handle_path /named/* {
			token_proxy {
				realm q
				key {query.key}
			}
		}
		token_gateway`)
	ways := []string{"/any", "/by-path", "/re", "/long", ""}
	for _, way := range ways {
		if got := i.wayOf(t, way+"/q/main/x"); strings.Contains(got, " ") {
			t.Errorf("%s/q/main/x: %s", way, got)
		}
		for _, rest := range []string{
			"/q/main/../../other/main/x", "/q/../other/main/x", "/./other/main/x", "/q/main/%2e%2e/%2E./other/main/x",
			"/q%2F..%2Fother/main/x", "/q/main/a/../../../other/main/x", "/q/main/x/..%2f..%2f..%2Fother/main/x", "/../q/main/../../other/main/x",
		} {
			if got := i.wayOf(t, way+rest); !strings.HasPrefix(got, "400 ") && !strings.HasPrefix(got, "404 ") {
				t.Errorf("%s%s: %s arrived", way, rest, got)
			}
		}
	}
	// Where the path does not decide, dots in it are the API's.
	if got := i.wayOf(t, "/named/a/../b?key=main"); got != "/a/../b" {
		t.Errorf("dots in the path of the API: %s", got)
	}
}
