package importer

import (
	"context"
	"errors"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

// write posts a document with its tokens as api.post does, and counts the access
// tokens that the API took. Those that it does not take are left out, and the report says
// so: they are no reason to lose the credentials with which others can be got,
// nor a refresh token that it takes. It fails where nothing would be left.
func (r *run) write(ctx context.Context, it item, d document, created string) (int, error) {
	var without []refusedToken
	tokens := it.tokens
	for {
		err := r.post(ctx, it.collection, d.with(tokens), created)
		if err == nil {
			r.noteWithout(it.subject, without, tokens)
			return count(tokens), nil
		}
		refused := refusedTokenOf(err)
		rest := tokens.without(refused.name, refused.end)
		if len(rest) == len(tokens) || len(rest) == 0 && len(d) == len(identity) {
			return 0, err
		}
		without, tokens = append(without, refused), rest
	}
}

// identity are the members that name a secret and say nothing about it.
var identity = []string{"realm", "key"}

// refusedToken is a token that the API does not take.
type refusedToken struct{ name, end, what, why string }

// refusedTokenOf is the zero one where the API took both, or refuses something
// else.
func refusedTokenOf(err error) refusedToken {
	var refusal *apiclient.RefusedError
	if !errors.As(err, &refusal) {
		return refusedToken{}
	}
	switch refusal.Field {
	case access, accessEnd:
		return refusedToken{access, accessEnd, "access token", refusal.Detail}
	case refresh, refreshEnd:
		return refusedToken{refresh, refreshEnd, "refresh token", refusal.Detail}
	}
	return refusedToken{}
}

// noteWithout says what was left out, and what can be done about it. To
// overwrite tokens later is not among that: those that did come along may have
// been spent since, and a refresh token that comes twice may end all that it
// gave.
func (r *run) noteWithout(s Subject, without []refusedToken, kept document) {
	if len(without) == 0 {
		return
	}
	var what, why []string
	for _, t := range without {
		what, why = append(what, t.what), append(why, t.why)
	}
	then := ""
	switch {
	case kept[access] != nil:
	case kept[refresh] != nil:
		then = "; its refresh token gets another one as soon as that is put right"
	default:
		then = "; put that right, delete it here and run the import again, or have another token fetched"
	}
	r.ledger.note(s, "was imported without its %s: %s%s", strings.Join(what, " and "), strings.Join(why, "; "), then)
}
