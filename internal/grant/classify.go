package grant

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a provider can ask for.
const maxRetryAfter = 24 * time.Hour

// throttledCodes say "too often".
var throttledCodes = []string{
	"45009", "45011", // WeChat, WeCom: quota of the day, of the minute
	"10020",                       // Douyin: 500 in 5 minutes
	"slow_down",                   // RFC 8628 section 3.5
	"temporarily_unavailable",     // RFC 6749 section 4.1.2.1
	"rate_limit_reached",          // PayPal
	"ratelimited", "rate_limited", // Slack, Shopify
	"too_many_requests", "toomanyrequests", // Okta, Azure
	"rate_limit_exceeded", "quota_exceeded",
	"throttling",           // Aliyun: Throttling.User, Throttling.Api
	"requestlimitexceeded", // Tencent Cloud
}

// brokenCodes say that the provider failed while it worked, as a status 5xx
// does: what was asked may have been done.
var brokenCodes = []string{
	"-1", // WeChat, WeCom, DingTalk: system busy
	"server_error", "internal_server_error", "internal_error",
}

// hopelessCodes say that the credential or the request is wrong: nothing
// changes until somebody changes the secret or the realm.
var hopelessCodes = []string{
	// RFC 6749 section 5.2, and 4.1.2.1.
	"invalid_client", "unauthorized_client", "invalid_scope", "invalid_grant",
	"invalid_request", "unsupported_grant_type", "access_denied",
	"40001", "40013", "40125", "40243", // WeChat at a fetch: secret, appid; WeCom 40001: secret
	"41002", "41004", // WeChat: appid, secret missing
	"10013",                  // Douyin: client_key or client_secret
	"100200100", "100200101", // Kuaishou: app_id, app_secret
	"bad_client_secret", "invalid_client_id", // Slack
	"incorrect_client_credentials", // GitHub
}

// refusedGrants say that the refresh token is not good any more. A number
// counts at its place only: elsewhere it means other things. What may as well
// mean the client's secret (WeCom's 40001, the old DingTalk's 40089) is not
// here: nobody must be asked for consent because a secret was mistyped.
var refusedGrants = map[string][]string{
	"": {
		"invalid_grant", // RFC 6749 section 5.2
		"expired_token", // Baidu: used or expired
	},
	"errcode": {
		"40030", "42002", // WeChat: invalid, expired
		"42007", // WeChat: the user changed the password
		"61023", // WeChat open platform
	},
	"data.error_code":           {"10010"},                   // Douyin
	"code":                      {"20026", "20037", "20064"}, // Feishu: invalid, expired, revoked
	"error_response.sub_code":   {"10035"},                   // Pinduoduo
	"error_response.error_code": {"10035"},
}

// refusedTokenWords are codes that name the refresh token and what is wrong with
// it, in plain spelling and without what stands before a dot. They mean the
// same with every provider.
var refusedTokenWords = []string{
	"invalidrefreshtoken", // Slack, Aliyun
	"refreshtokeninvalid", // Alipay
	"badrefreshtoken",     // GitHub
	"expiredrefreshtoken", "refreshtokenexpired", "refreshtokenisexpired", "refreshtokenisinvalid",
	"revokedrefreshtoken", "refreshtokenrevoked", "refreshtokenhasexpired",
}

// isRefusedTokenWord reports whether a code is such a word:
// isv.refresh-token-invalid is.
func isRefusedTokenWord(code string) bool {
	return slices.Contains(refusedTokenWords, plainName(code[strings.LastIndexByte(code, '.')+1:]))
}

// refusedIfNamed are numbers that several providers use, each for something of
// its own: they count where the message names the refresh token.
var refusedIfNamed = map[string][]string{
	"code": {
		"40107",   // Ocean Engine
		"11017",   // Tencent Ads
		"4000002", // Bilibili
		"404",     // JD
	},
}

// invalidGrant reports whether the words, as the answer to a refresh, are about
// the refresh token itself.
func (w refusalWords) invalidGrant() bool {
	named := mentionsRefreshToken(w.message)
	return slices.ContainsFunc(w.codes, func(s codeAt) bool {
		code := strings.ToLower(s.code)
		return slices.Contains(refusedGrants[""], code) || isRefusedTokenWord(code) || slices.Contains(refusedGrants[s.at], code) ||
			named && slices.Contains(refusedIfNamed[s.at], code)
	})
}

// isOneOf reports whether one of the codes is in the list. What stands behind a
// dot makes it more precise only: Throttling.User is Throttling.
func (w refusalWords) isOneOf(list []string) bool {
	return slices.ContainsFunc(w.codes, func(s codeAt) bool {
		code := strings.ToLower(s.code)
		class, _, _ := strings.Cut(code, ".")
		return slices.Contains(list, code) || slices.Contains(list, class)
	})
}

// broken reports whether the words are about a failure inside the provider.
func (w refusalWords) broken() bool { return w.isOneOf(brokenCodes) }

// classify decides what to do about an answer that is no success, and by what:
// builtIn is the list of codes that decided, "" where the status did or nothing.
func classify(status int, said refusalWords) (class Class, builtIn string) {
	switch {
	case said.isOneOf(throttledCodes), status == http.StatusForbidden && said.code == "99": // X, when asked too often
		return Throttled, "throttled"
	case status == http.StatusTooManyRequests:
		return Throttled, ""
	case said.broken():
		return Retryable, "retryable"
	case ownFault(status, said):
		return Retryable, ""
	case said.isOneOf(hopelessCodes):
		return Hopeless, "hopeless"
	case status >= http.StatusBadRequest:
		return Hopeless, ""
	}
	return Retryable, ""
}

// ownFault reports whether the answer is about the provider itself and not
// about what it was asked.
func ownFault(status int, said refusalWords) bool {
	return status >= http.StatusInternalServerError || said.broken() ||
		status == http.StatusRequestTimeout || status == http.StatusTooEarly
}

// retryAfter reads the header of that name (RFC 9110 section 10.2.3): seconds
// or a date. Zero for none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
