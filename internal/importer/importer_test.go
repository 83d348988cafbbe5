package importer

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// cacheTables are the token cache service's, with what MySQL makes of them by
// default: a collation that does not tell Wxgzh from wxgzh, and another
// character set for the table that came later.
const cacheTables = `
CREATE TABLE realm (id VARCHAR(64) PRIMARY KEY, config JSON, logic_code VARCHAR(5000), comment VARCHAR(255),
	created_at DATETIME DEFAULT NOW(), updated_at DATETIME DEFAULT NOW()) CHARSET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE secret (` + "`key`" + ` VARCHAR(64), realm VARCHAR(64), key_1 VARCHAR(200), key_2 VARCHAR(200), key_3 VARCHAR(200), key_4 VARCHAR(200),
	key_5 MEDIUMTEXT, token TEXT, expires_at BIGINT, created_at DATETIME DEFAULT NOW(), updated_at DATETIME DEFAULT NOW(),
	PRIMARY KEY (` + "`key`" + `, realm)) CHARSET utf8mb3 COLLATE utf8mb3_general_ci;`

// wxgzh is a realm as the service's documentation has it.
const wxgzh = `{"url": "https://api.weixin.qq.com/cgi-bin/token", "method": "GET",
	"arguments": [{"name": "appid", "place": "url", "value": "$key_1"}, {"name": "secret", "place": "url", "value": "$key_2"}],
	"token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in"}`

var later = time.Now().Add(time.Hour).Truncate(time.Second)

// newCache is the token cache service's database with n secrets, each with a
// token that lives. Two each have the same key, in two realms.
func newCache(t *testing.T, n int) *old {
	o := newOld(t, cacheTables)
	o.exec("INSERT INTO realm (id, config, comment) VALUES ('wxgzh', ?, '微信'), ('__proto__', ?, NULL)", wxgzh, wxgzh)
	o.exec(fmt.Sprintf(`INSERT INTO secret (realm, `+"`key`"+`, key_1, key_2, token, expires_at)
		SELECT IF(seq %% 2, 'wxgzh', '__proto__'), CONCAT('k', (seq + 1) DIV 2), CONCAT('app', seq), CONCAT('%s-', seq), CONCAT('%s-token-', seq), ?
		FROM seq_1_to_%d`, canary, canary, n), later.UnixMilli())
	return o
}

// nth is the n-th of these secrets.
func nth(n int) realm.Ref {
	return realm.Ref{Realm: []string{"__proto__", "wxgzh"}[n%2], Key: fmt.Sprintf("k%d", (n+1)/2)}
}

// Thousands of rows are read page by page; a second run posts nothing, and the
// old tables stay as they were.
func TestTokenCacheService(t *testing.T) {
	o, i := newCache(t, 2000), newInstance(t)
	before := o.checksums("realm", "secret")
	out := o.must(i, nil)
	tallied(t, out.Realms, 2, 0, 0, 0)
	tallied(t, out.Secrets, 2000, 0, 0, 0)
	if out.Secrets.Tokens != 2000 || out.Accounts != nil || out.Companies != nil || len(out.Notes) != 0 {
		t.Errorf("report: %s", out.printed)
	}
	if !strings.Contains(out.progress, "secrets: 1000 created, 0 unchanged, 0 failed") {
		t.Errorf("progress: %s", out.progress)
	}
	if _, total, err := i.view.Catalog().Secrets(t.Context(), pageOne, tokenstore.SecretFilter{}); err != nil || total != 2000 {
		t.Errorf("%d secrets, %v", total, err)
	}
	for _, n := range []int{1, 2, 99, 100, 101, 1000, 1999, 2000} {
		ref := nth(n)
		got := i.stored(ref.Realm, ref.Key)
		if got["key_1"] != fmt.Sprintf("app%d", n) || got["key_2"] != fmt.Sprintf("%s-%d", canary, n) || len(got) != 2 {
			t.Errorf("%s: %v", ref, got)
		}
		status, token := i.get("/api/token?realm=" + ref.Realm + "&key=" + ref.Key)
		if status != http.StatusOK || token["token"] != fmt.Sprintf("%s-token-%d", canary, n) || token["expires_at"] != float64(later.UnixMilli()) {
			t.Errorf("token of %s: %d %v", ref, status, token)
		}
	}

	posts := i.postCount()
	out = o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Secrets, 0, 0, 2000, 0)
	if i.postCount() != posts || len(out.Notes) != 0 {
		t.Errorf("the second run posts %d times: %s", i.postCount()-posts, out.printed)
	}
	if after := o.checksums("realm", "secret"); after != before {
		t.Errorf("the old tables changed:\n%s%s", before, after)
	}
}

// A run that is interrupted anywhere, however often, is made whole by the next
// one.
func TestInterrupted(t *testing.T) {
	o, i := newCache(t, 300), newInstance(t)
	for _, after := range []int{1, 40, 160} {
		ctx, cancel := context.WithCancel(t.Context())
		i.meanwhile(func(_ http.ResponseWriter, r *http.Request) bool {
			if i.postCount() >= after && r.Method == http.MethodPost {
				cancel()
			}
			return false
		})
		out := o.run(ctx, i, nil)
		if out.err == nil || !strings.Contains(out.Stopped, "interrupted") {
			t.Fatalf("after %d posts: %v", after, out.err)
		}
		cancel()
	}
	i.meanwhile(nil)
	o.must(i, nil)
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Secrets, 0, 0, 300, 0)
	for n := 1; n <= 300; n++ {
		if ref := nth(n); len(i.stored(ref.Realm, ref.Key)) != 2 {
			t.Errorf("%s is not whole", ref)
		}
	}
}

// What nobody would think of as an id, a value or a realm.
func TestSharpEdges(t *testing.T) {
	o, i := newOld(t, cacheTables), newInstance(t)
	realms := []string{"wxgzh", `it's "quoted" here`, "微信 公众号 a=b#c", "__proto__", "..."}
	for _, id := range realms {
		o.exec("INSERT INTO realm (id, config) VALUES (?, ?)", id, wxgzh)
		o.exec("INSERT INTO secret (realm, `key`, key_1, key_2) VALUES (?, ?, 'a', ?)", id, id, canary+`'"\`)
	}
	o.exec(`INSERT INTO realm (id, config, logic_code) VALUES ('bad', ?, NULL), ('delegate', NULL, 'https://fn.example.com/token'), ('empty', NULL, NULL), ('..', ?, NULL), ('a/b', ?, NULL)`,
		`{"url": "ftp://x", "token_path": "t"}`, wxgzh, wxgzh)
	o.exec("INSERT INTO secret (realm, `key`, key_1, key_2, key_5, token, expires_at) VALUES "+
		"('WXGZH', 'other case', 'a', ?, NULL, ?, ?), ('bad', 'k', 'a', ?, NULL, NULL, NULL), ('nobody', 'k', 'a', ?, NULL, NULL, NULL), "+
		"('wxgzh', 'long', 'a', ?, REPEAT(?, 7000), NULL, NULL), ('wxgzh', 'fits', 'a', 'b', REPEAT('x', 65536), NULL, NULL), "+
		"('wxgzh', 'nulls', NULL, '', NULL, NULL, NULL), ('wxgzh', 'ended', 'a', ?, NULL, ?, 1000), ('wxgzh', 'endless', 'a', ?, NULL, ?, NULL), "+
		"('wxgzh', 'lame', 'a', NULL, NULL, ?, ?), ('wxgzh', 'tab\tbed', 'a', ?, NULL, NULL, NULL), ('wxgzh', 'odd end', 'a', 'b', NULL, 't', 99999999999999999)",
		canary, canary, later.UnixMilli(), canary, canary, canary, canary, canary, canary, canary, canary, canary, later.UnixMilli(), canary)
	out := o.must(i, nil)
	tallied(t, out.Realms, len(realms)+2, 0, 0, 3)
	tallied(t, out.Secrets, len(realms)+7, 0, 0, 4)
	if out.Secrets.Tokens != 1 {
		t.Errorf("%d tokens", out.Secrets.Tokens)
	}
	for _, id := range realms {
		if got := i.stored(id, id); got["key_2"] != canary+`'"\` {
			t.Errorf("%s: %v", id, got)
		}
	}
	for _, want := range []string{
		`failed: realm "bad": config.url: `, `failed: realm "..": id: must not be ".."`, `failed: realm "a/b": id: must not hold /`,
		`failed: secret "bad" "k": there is no such realm`, `failed: secret "nobody" "k": there is no such realm`, `failed: secret "wxgzh" "long": key_5: is longer than 64 KiB`,
		`failed: secret "wxgzh" "tab\tbed": key: has a control character`,
		`note: secret "WXGZH" "other case": was imported below the realm's own spelling "wxgzh"`,
		`note: secret "wxgzh" "lame": was imported without its access token: token: cannot be imported: key_2`,
		`note: secret "wxgzh" "odd end": was imported without its access token: expires_at: `,
	} {
		if !strings.Contains(out.printed, want) {
			t.Errorf("the report does not say %q:\n%s", want, out.printed)
		}
	}
	if got := i.stored("wxgzh", "fits"); len(got["key_5"]) != 65536 {
		t.Errorf("64 KiB became %d", len(got["key_5"]))
	}
	if status, token := i.get("/api/token?realm=wxgzh&key=other+case"); status != http.StatusOK || token["token"] != canary {
		t.Errorf("token: %d %v", status, token)
	}
	for _, key := range []string{"ended", "endless"} {
		if status, _ := i.get("/api/token?realm=wxgzh&key=" + key); status != http.StatusServiceUnavailable {
			t.Errorf("%s: a token that is not alive was imported: %d", key, status)
		}
	}
}

// An existing realm or secret is somebody's work: it is left alone unless
// --overwrite says otherwise, and a token unless --overwrite-tokens does.
func TestWhatExists(t *testing.T) {
	o, i := newCache(t, 2), newInstance(t)
	o.must(i, nil)
	i.comment("wxgzh", "edited by hand")
	i.set("wxgzh", "k1", "key_1", "edited")

	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 2, 0)
	if !strings.Contains(out.printed, `note: realm "wxgzh": exists already and differs`) || i.stored("wxgzh", "k1")["key_1"] != "edited" {
		t.Errorf("not left alone: %s", out.printed)
	}
	out = o.must(i, func(opts *Options) { opts.OverwriteTokens = true })
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Secrets, 0, 2, 0, 0)
	if _, token := i.get("/api/token?realm=wxgzh&key=k1"); token["token"] != canary+"-token-1" || i.stored("wxgzh", "k1")["key_1"] != "edited" {
		t.Errorf("the token was not written, or more than it: %v", token)
	}
	out = o.must(i, func(opts *Options) { opts.Overwrite = true })
	tallied(t, out.Realms, 0, 1, 1, 0)
	tallied(t, out.Secrets, 0, 2, 0, 0)
	if got := i.stored("wxgzh", "k1")["key_1"]; got != "app1" {
		t.Errorf("not overwritten: %q", got)
	}
	if status, _ := i.get("/api/token?realm=wxgzh&key=k1"); status != http.StatusServiceUnavailable {
		t.Errorf("a changed secret has its old token: %d", status)
	}
	tallied(t, o.must(i, nil).Realms, 0, 0, 2, 0)
}

func TestDryRun(t *testing.T) {
	o, i := newCache(t, 120), newInstance(t)
	o.exec("INSERT INTO realm (id, config) VALUES ('bad', '{\"arguments\": 1}')")
	o.exec("INSERT INTO secret (realm, `key`, key_1) VALUES ('nobody', 'k', ?), ('bad', 'k', ?)", canary, canary)
	out := o.must(i, func(opts *Options) { opts.DryRun = true })
	tallied(t, out.Realms, 2, 0, 0, 1)
	tallied(t, out.Secrets, 120, 0, 0, 2)
	if !strings.HasPrefix(out.printed, "dry run: nothing was written\n") || i.postCount() != 0 {
		t.Errorf("%d posts: %s", i.postCount(), out.printed)
	}
}
