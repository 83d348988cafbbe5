package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// maxLife is the longest life of a token, see docs/realms.md.
const maxLife = 400 * 24 * time.Hour

// tokenAnswer is the answer of /api/token. What the other clock says (expires_at)
// is not read.
type tokenAnswer struct {
	Token      realm.Hidden  `json:"token"`
	ExpiresIn  *int64        `json:"expires_in"` // milliseconds
	Source     string        `json:"source"`
	Lineage    int64         `json:"lineage"`
	InjectOnly bool          `json:"inject_only"`
	Placed     *realm.Placed `json:"placed"`
}

// Obtain implements tokenstore.Upstream.
func (s *Store) Obtain(ctx context.Context, ref realm.Ref, want tokenstore.Wanted) (tokenstore.Given, error) {
	// Callers make up keys of any length and form: one that no instance can have is not
	// asked for, as it could break the question, and with it the connection.
	if !isID(ref.Key) || !isID(ref.Realm) {
		return tokenstore.Given{}, &realm.Error{Code: realm.CodeSecretNotFound, Status: http.StatusNotFound, Detail: "the realm has no such secret"}
	}
	var answer tokenAnswer
	err := s.askToken(ctx, ref, want, &answer)
	if err != nil {
		return tokenstore.Given{}, err
	}
	if answer.Token == "" {
		return tokenstore.Given{}, s.stranger("has no token in it")
	}
	given := tokenstore.Given{
		Access: answer.Token, Lineage: answer.Lineage, Source: sourceOf(answer.Source), InjectOnly: answer.InjectOnly, Placed: answer.Placed,
	}
	if answer.ExpiresIn != nil {
		given.HasEnd = true
		given.Left = time.Duration(min(max(*answer.ExpiresIn, 0), maxLife.Milliseconds())) * time.Millisecond
	}
	return given, nil
}

// isID reports whether the other instance may have something of that name.
func isID(id string) bool { return realm.ValidateID("id", id) == nil }

func (s *Store) askToken(ctx context.Context, ref realm.Ref, want tokenstore.Wanted, answer *tokenAnswer) error {
	if want == (tokenstore.Wanted{}) {
		return s.ask(ctx, http.MethodGet, "/api/token", url.Values{"realm": {ref.Realm}, "key": {ref.Key}}, nil, answer)
	}
	question := map[string]any{"realm": ref.Realm, "key": ref.Key}
	if want.Flush {
		question["flush"] = true
	} else {
		digest := sha256.Sum256([]byte(want.Rejected.Reveal()))
		question["rejected"] = hex.EncodeToString(digest[:])
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return s.ask(ctx, http.MethodPost, "/api/token", nil, body, answer)
}

// sourceOf is the source that a word stands for; a word of another version is
// nothing but not ours.
func sourceOf(word string) realm.Source {
	for source := realm.FromMemory; source <= realm.FromUpstream; source++ {
		if source.String() == word {
			return source
		}
	}
	return realm.FromDatabase
}
