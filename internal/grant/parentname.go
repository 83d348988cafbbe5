package grant

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// parentName begins the name of another credential's token: {token_of.wechat},
// {token_of.wechat.main}, {token_of["a.b"]["c}"]}.
const parentName = "token_of"

// parseParent reads "token_of.R}", "token_of.R.K}" or the form with brackets, and
// returns what stands behind it. Without brackets, the realm ends at the first
// dot, and all that follows is the key.
func parseParent(s string) (p part, rest string, err error) {
	p = part{name: parentName, from: fromParent}
	s = s[len(parentName):]
	if strings.HasPrefix(s, "[") {
		p.parent, rest, err = parseBrackets(s)
	} else {
		var name string
		var found, hasKey bool
		if name, rest, found = strings.Cut(s[1:], "}"); !found {
			return p, "", errUnclosed
		}
		if p.parent.Realm, p.parent.Key, hasKey = strings.Cut(name, "."); hasKey && p.parent.Key == "" {
			err = errors.New("{" + parentName + s[:1] + name + "} has no key behind the dot")
		}
	}
	if err == nil {
		err = realm.ValidateID("the realm of {"+parentName+"...}", p.parent.Realm)
	}
	if err == nil && p.parent.Key != "" {
		err = realm.ValidateID("the key of {"+parentName+"...}", p.parent.Key)
	}
	return p, rest, err
}

var errBrackets = errors.New(`{` + parentName + `[...] must be {` + parentName + `["realm"]} or {` + parentName + `["realm"]["key"]}`)

// parseBrackets reads `["R"]}` or `["R"]["K"]}`, with the strings of JSON.
func parseBrackets(s string) (ref realm.Ref, rest string, err error) {
	for _, to := range []*string{&ref.Realm, &ref.Key} {
		text, found := strings.CutPrefix(s, "[")
		if !found {
			break
		}
		in := json.NewDecoder(strings.NewReader(text))
		token, err := in.Token()
		id, isString := token.(string)
		if err != nil || !isString {
			return ref, "", errBrackets
		}
		*to = id
		if s, found = strings.CutPrefix(text[in.InputOffset():], "]"); !found || id == "" {
			return ref, "", errBrackets
		}
	}
	rest, found := strings.CutPrefix(s, "}")
	if !found {
		return ref, "", errBrackets
	}
	return ref, rest, nil
}
