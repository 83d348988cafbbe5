package adminapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// token answers GET and POST /api/token, the former the busiest route by far.
func (a *api) token(ctx context.Context, r *request) (any, error) {
	wanted, err := r.wantedToken()
	if err != nil {
		return nil, err
	}
	right := access.Read
	if wanted.flush {
		right, r.tries = access.Flush, audit.ActFlush
	}
	if err := r.require(right, wanted.ref); err != nil {
		return nil, err
	}
	isMinimal := prefersMinimal(r.header)
	withToken := !isMinimal && !r.caller.isInSession()
	if wanted.flush {
		r.words = flushWords
	}
	read, readBy := a.broker.Read, a.broker.ReadBy
	if r.caller.isEdge() || wanted.flush && !withToken { // also a token that nobody may see
		read, readBy = a.broker.Token, obtainAnyway
	}
	var lease *realm.Lease
	switch {
	case wanted.flush:
		lease, err = readBy(ctx, wanted.ref, a.broker.Flush)
	case wanted.isRejected:
		lease, err = a.replaced(ctx, wanted, read, readBy)
	default:
		lease, err = read(ctx, wanted.ref)
	}
	if err != nil {
		return nil, err
	}
	answer := reply{status: http.StatusOK, kind: typeJSON, header: varyByPrefer}
	if isMinimal {
		answer.header = preferenceApplied
	}
	answer.body = appendLease(make([]byte, 0, len(lease.Access)+160), lease, a.now(), withToken)
	if r.caller.isEdge() && withToken {
		answer.body, err = a.appendForEdge(ctx, answer.body, wanted.ref, lease)
	}
	return answer, err
}

// obtainAnyway is broker.View.ReadBy for who may have tokens that nobody is shown.
func obtainAnyway(ctx context.Context, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error)) (*realm.Lease, error) {
	return obtain(ctx, ref)
}

// appendForEdge adds what an edge has to know of the token beside it: that nobody is
// to be shown it, and what is made of the secret where that is needed to use it.
func (a *api) appendForEdge(ctx context.Context, b []byte, ref realm.Ref, l *realm.Lease) ([]byte, error) {
	c, err := a.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1]
	if l.InjectOnly {
		b = append(b, `,"inject_only":true`...)
	}
	if !c.Program.IsPlacedAlone() {
		b = appendPlaced(append(b, `,"placed":`...), l)
	}
	return append(b, '}'), nil
}

// appendPlaced encodes a realm.Placed, whose values would be masked.
func appendPlaced(b []byte, l *realm.Lease) []byte {
	b = append(b, `{"values":[`...)
	for i, value := range l.Values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, value)
	}
	b = append(b, ']')
	if l.Target.API != nil {
		b = appendText(append(b, `,"api":`...), l.Target.API.String())
	}
	if l.Target.Refused != nil {
		b = appendText(append(b, `,"refused":`...), l.Target.Refused.Detail)
	}
	b = append(b, `,"hosts":[`...)
	for i, host := range l.Target.Hosts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, host.String())
	}
	return append(b, "]}"...)
}

// replaced returns a token other than the one with this digest, which the caller
// says that the provider refused. Only if that is the current one, another one is
// obtained, as for a proxied request: how often is bounded by the broker.
func (a *api) replaced(
	ctx context.Context, wanted tokenRequest, read func(context.Context, realm.Ref) (*realm.Lease, error),
	readBy func(context.Context, realm.Ref, func(context.Context, realm.Ref) (*realm.Lease, error)) (*realm.Lease, error),
) (*realm.Lease, error) {
	current, err := read(ctx, wanted.ref)
	if err != nil || sha256.Sum256([]byte(current.Access.Reveal())) != wanted.rejected {
		return current, err
	}
	return readBy(ctx, wanted.ref, func(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
		lease, _, err := a.broker.Heal(ctx, ref, current.Access, realm.BlameToken)
		return lease, err
	})
}

// tokenRequest is what a request for a token says.
type tokenRequest struct {
	ref   realm.Ref
	flush bool
	// rejected is the SHA-256 of a token that the provider refused, if isRejected.
	rejected   [sha256.Size]byte
	isRejected bool
}

// wantedToken reads whose token is asked for, and how. A GET has it in the query;
// what is not there is looked for in a JSON body, as the earlier service's
// documentation has it. A POST has it in its body.
func (r *request) wantedToken() (t tokenRequest, err error) {
	isPost := r.route.method == http.MethodPost
	if isPost || len(r.body) > 0 {
		if t, err = readTokenRequest(r.body, isPost); err != nil {
			return t, err
		}
	}
	if !isPost {
		if t, err = t.withQuery(r.query); err != nil {
			return t, err
		}
	}
	switch "" {
	case t.ref.Realm:
		return t, realm.Fieldf("realm", "is required")
	case t.ref.Key:
		return t, realm.Fieldf("key", "is required")
	}
	return t, nil
}

// withQuery is the request with what the query says, which counts more than a
// body.
func (t tokenRequest) withQuery(q query) (tokenRequest, error) {
	realmID, err := q.text("realm")
	if err != nil {
		return t, err
	}
	key, err := q.text("key")
	if err != nil {
		return t, err
	}
	t.ref = realm.Ref{Realm: cmp.Or(realmID, t.ref.Realm), Key: cmp.Or(key, t.ref.Key)}
	t.flush, err = q.flag("flush", t.flush)
	return t, err
}

// readTokenRequest reads a JSON body. Only that of a POST has rejected.
func readTokenRequest(body []byte, isPost bool) (t tokenRequest, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return t, err
	}
	if _, err = o.take("realm", &t.ref.Realm); err != nil {
		return t, err
	}
	if _, err = o.take("key", &t.ref.Key); err != nil {
		return t, err
	}
	if raw, ok := o["flush"]; ok && !isNull(raw) {
		if t.flush, err = parseFlag("flush", strings.Trim(string(raw), `"`)); err != nil {
			return t, err
		}
	}
	if isPost {
		if err := t.takeRejected(o); err != nil {
			return t, err
		}
	}
	return t, o.end("flush")
}

// takeRejected takes the digest of a token that the provider refused; null is
// none.
func (t *tokenRequest) takeRejected(o object) error {
	raw, ok := o["rejected"]
	if !ok || isNull(raw) {
		delete(o, "rejected")
		return nil
	}
	var text string
	if _, err := o.take("rejected", &text); err != nil {
		return err
	}
	digest, err := hex.DecodeString(text)
	switch {
	case err != nil || len(digest) != len(t.rejected):
		return realm.Fieldf("rejected", "must be the SHA-256 of the token, in %d hexadecimal digits", hex.EncodedLen(len(t.rejected)))
	case t.flush:
		return realm.Fieldf("rejected", "cannot stand beside flush, which gets another token in any case")
	}
	t.rejected, t.isRejected = [sha256.Size]byte(digest), true
	return nil
}

// appendLease encodes the answer. It, and appendPlaced for edges, are the places of the
// API at which a confidential value leaves.
func appendLease(b []byte, l *realm.Lease, now time.Time, withToken bool) []byte {
	b = append(b, '{')
	if withToken {
		b = append(b, `"token":`...)
		b = appendText(b, l.Access.Reveal())
		b = append(b, ',')
	}
	if l.Expires == 0 {
		b = append(b, `"expires_in":null,"expires_at":null`...)
	} else {
		end := l.Expires.Time().UnixMilli()
		b = append(b, `"expires_in":`...)
		b = strconv.AppendInt(b, max(0, end-now.UnixMilli()), 10)
		b = append(b, `,"expires_at":`...)
		b = strconv.AppendInt(b, end, 10)
	}
	b = append(b, `,"source":`...)
	b = appendText(b, l.Source.String())
	b = append(b, `,"lineage":`...)
	b = strconv.AppendInt(b, l.Lineage, 10)
	return append(b, '}')
}

// appendText appends a JSON string. Tokens are plain ASCII nearly always;
// what needs escaping is left to encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string has no error
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
