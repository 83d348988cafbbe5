package fakeprovider

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// code is one answer of the providers that refuse with HTTP 200 and an
// errcode (WeChat, WeCom, the old DingTalk).
type code struct {
	errcode int
	errmsg  string
}

func (c code) reply() reply {
	return jsonReply(http.StatusOK, map[string]any{"errcode": c.errcode, "errmsg": c.errmsg})
}

func refuseByCode(codes map[Refusal]code) func(Refusal) reply {
	return func(r Refusal) reply { return codes[r].reply() }
}

func deadByCode(codes map[state]code) func(state) reply {
	return func(s state) reply { return codes[s].reply() }
}

// okByCode is what an API call of these providers answers. The path is told,
// never the query: it holds the token.
func okByCode(r *http.Request) reply {
	return jsonReply(http.StatusOK, map[string]any{"errcode": 0, "errmsg": "ok", "path": r.URL.Path})
}

// askQuery reads a GET whose arguments stand in the query.
func askQuery(id, secret string, fixed map[string]string) func(*http.Request) (ask, Refusal) {
	return func(r *http.Request) (ask, Refusal) {
		q := r.URL.Query()
		a := ask{ref: q.Get(id), secret: q.Get(secret)}
		if r.Method != http.MethodGet {
			return a, NeedsGET
		}
		for name, want := range fixed {
			if q.Get(name) != want {
				return a, WrongGrant
			}
		}
		if len(q[id]) > 1 || len(q[secret]) > 1 {
			return a, BadBody
		}
		return a, a.incomplete()
	}
}

// askJSON reads a POST whose arguments stand in a JSON object. Only strings
// are taken for strings: a number as an app id is refused.
func askJSON(id, secret string) func(*http.Request) (ask, Refusal) {
	return func(r *http.Request) (ask, Refusal) {
		if r.Method != http.MethodPost {
			return ask{}, NeedsPOST
		}
		body, ok := jsonBody(r)
		if !ok {
			return ask{}, BadBody
		}
		a := ask{}
		a.ref, _ = body[id].(string)
		a.secret, _ = body[secret].(string)
		return a, a.incomplete()
	}
}

func (a ask) incomplete() Refusal {
	switch {
	case a.ref == "":
		return MissingApp
	case a.secret == "":
		return MissingSecret
	default:
		return ""
	}
}

// jsonBody reads a JSON object, whatever the content type says: the providers
// of this kind do not look at it. A form is not JSON.
func jsonBody(r *http.Request) (map[string]any, bool) {
	b, err := io.ReadAll(r.Body)
	if err != nil || strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil, false
	}
	var body map[string]any
	return body, json.Unmarshal(b, &body) == nil && body != nil
}
