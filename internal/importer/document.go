package importer

import (
	"encoding/json"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// document is a JSON object that is sent to the API. Confidential values in
// it are Hidden until it is encoded.
type document map[string]any

// encode writes the object with everything in it revealed.
func (d document) encode() ([]byte, error) {
	plain := make(map[string]any, len(d))
	for name, value := range d {
		switch v := value.(type) {
		case realm.Hidden:
			plain[name] = v.Reveal()
		case document:
			inner, err := v.encode()
			if err != nil {
				return nil, err
			}
			plain[name] = json.RawMessage(inner)
		default:
			plain[name] = value
		}
	}
	return json.Marshal(plain)
}

// without is a copy that lacks some members.
func (d document) without(names ...string) document {
	rest := d.with()
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// with is a copy that has the members of others as well.
func (d document) with(others ...document) document {
	all := document{}
	for _, part := range append([]document{d}, others...) {
		for name, value := range part {
			all[name] = value
		}
	}
	return all
}
