package adminapi

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// wording is the status and the text that an error has on a route; an empty
// text leaves the error's own.
type wording struct {
	status int
	detail string
}

// vocabulary is a route's wording by code. What it lacks keeps the status and
// text of the error.
type vocabulary map[realm.Code]wording

// The earlier services' texts, which their clients compare.
const (
	textNoRealm       = "realm 不存在"
	textNoSecret      = "secret 不存在"
	textNoTokenSecret = "该 key 指定的 secret 不存在"
	textFixedToken    = "固定 token 模式不支持上游服务商"
	textNoToken       = "无法从上游服务获取 token"
)

// titles say in English what the earlier services' texts do, for those who
// read a problem document and know no Chinese.
var titles = map[string]string{
	textNoRealm:             "there is no such realm",
	textNoSecret:            "there is no such secret",
	textNoTokenSecret:       "there is no secret of this key",
	textFixedToken:          "the token is fixed and comes from no provider",
	textNoToken:             "no token could be got from the provider",
	account.TextRequestLate: "the provider gave no token in time; try again later",
	account.TextGetLate:     "there was no token in time; try again later",
}

// title is the English of a detail, "" where that is English itself.
func title(detail string) string {
	if strings.HasPrefix(detail, account.TextFailed) { // the reason follows
		return "the provider gave no token"
	}
	return titles[detail]
}

var (
	// tokenWords: the earlier service answers 503 to whatever the provider did.
	tokenWords = vocabulary{
		realm.CodeRealmNotFound:    {http.StatusBadRequest, textNoTokenSecret},
		realm.CodeSecretNotFound:   {http.StatusBadRequest, textNoTokenSecret},
		realm.CodeFixedToken:       {http.StatusExpectationFailed, textFixedToken},
		realm.CodeTokenUnavailable: {http.StatusServiceUnavailable, textNoToken},
		realm.CodeReauthRequired:   {http.StatusServiceUnavailable, textNoToken},
		realm.CodeBudgetSpent:      {http.StatusServiceUnavailable, textNoToken},
	}
	// flushWords: a flush that the budget does not allow is the caller asking
	// for too much (RFC 6585 section 4); the token that there is can be had.
	flushWords = tokenWords.with(realm.CodeBudgetSpent, wording{status: http.StatusTooManyRequests})

	realmWords = vocabulary{
		realm.CodeRealmNotFound: {http.StatusNotFound, textNoRealm},
	}
	testWords = vocabulary{
		realm.CodeRealmNotFound:  {http.StatusNotFound, textNoRealm},
		realm.CodeSecretNotFound: {http.StatusNotFound, textNoSecret},
		realm.CodeBudgetSpent:    {status: http.StatusTooManyRequests},
	}
	secretWords = vocabulary{
		realm.CodeRealmNotFound:  {http.StatusNotFound, textNoSecret},
		realm.CodeSecretNotFound: {http.StatusNotFound, textNoSecret},
	}
	saveSecretWords = vocabulary{
		realm.CodeRealmNotFound: {http.StatusBadRequest, textNoRealm},
	}
)

// with is a copy with another wording for one code.
func (v vocabulary) with(code realm.Code, w wording) vocabulary {
	v = maps.Clone(v)
	v[code] = w
	return v
}

// document turns an error into a problem document in the given words.
func document(words vocabulary, err error) problem.Document {
	var e *realm.Error
	if !errors.As(err, &e) {
		return problem.From(err)
	}
	d := problem.From(err)
	if word, ok := words[e.Code]; ok {
		d.Status = word.status
		if word.detail != "" && word.detail != d.Detail {
			d.Reason, d.Detail = d.Detail, word.detail
		}
	}
	d.Title = title(d.Detail)
	if d.Status == http.StatusServiceUnavailable && d.RetryAfter == 0 && d.Code != realm.CodeDamaged {
		d.RetryAfter = time.Second
	}
	return d
}

// internal reports whether only the operator can do something about the error, so
// that it is logged.
func internal(d problem.Document) bool {
	return d.Code == realm.CodeInternal || d.Code == realm.CodeUnavailable || d.Code == realm.CodeDamaged || d.Code == realm.CodeAuditUnavailable
}

// cause is what is logged of an error: never the URL of a *url.Error, whose
// query may hold credentials.
func cause(err error) error {
	var e *realm.Error
	if errors.As(err, &e) && e.Err != nil {
		err = e.Err
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
