package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// callback takes what a provider sends a browser back with. The page of one that
// worked names the realm and the key, so that a person who was lured to a link of
// somebody else sees what the consent was for. All other pages are constant:
// they show nothing of the request, and whatever is wrong with it is answered
// with the same bytes, so that nobody learns from them which realms there are or
// what was right in a guess.
func (a *api) callback(ctx context.Context, r *request) (any, error) {
	ref, err := a.accounts.Callback(ctx, r.ids[0], string(r.query))
	if err != nil {
		return nil, err
	}
	r.about = ref
	return htmlPage(http.StatusOK, workedPage(ref)), nil
}

// failedPage is the page of a callback that brought no token: it was no good,
// or what it needs does not work.
func failedPage(status int) reply {
	if status < http.StatusInternalServerError {
		return htmlPage(http.StatusBadRequest, pageWrong)
	}
	return htmlPage(status, pageFailed)
}

const (
	pageStyle = "body{font:1.1em/1.6 sans-serif;margin:4em auto;max-width:34em;padding:0 1em}"
	pageHead  = `<!doctype html><html lang="en"><meta charset="utf-8">` +
		`<meta name="viewport" content="width=device-width"><style>` + pageStyle + `</style><title>`

	pageWrong = pageHead + "Not authorized</title><h1>Not authorized</h1>" +
		"<p>This is not the answer to an authorization that is under way, or it was not granted. Please begin again.</p>" +
		`<p lang="zh">授权请求无效、已过期或被拒绝，请重新发起授权。</p></html>` + "\n"
	pageFailed = pageHead + "Not authorized</title><h1>No token</h1>" +
		"<p>The authorization came, but no token could be obtained. Please begin again, or ask whoever runs this service.</p>" +
		`<p lang="zh">已收到授权，但未能获取 token，请重新发起授权或联系管理员。</p></html>` + "\n"
)

// workedPage is the page of an authorization that worked.
func workedPage(ref realm.Ref) string {
	realmID, key := html.EscapeString(ref.Realm), html.EscapeString(ref.Key)
	return pageHead + "Authorized</title><h1>Authorized</h1>" +
		"<p>The authorization of <b>" + key + "</b> of <b>" + realmID + "</b> worked. You may close this page.</p>" +
		`<p lang="zh"><b>` + realmID + "</b> 的 <b>" + key + "</b> 授权成功，可以关闭此页面。</p></html>\n"
}

// pagePolicy lets the pages do nothing and be shown nowhere else.
var pagePolicy = func() string {
	style := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

func htmlPage(status int, text string) reply {
	return reply{
		status: status, kind: "text/html; charset=utf-8", body: []byte(text),
		header: map[string]string{"Content-Security-Policy": pagePolicy},
	}
}
