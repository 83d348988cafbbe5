package adminapi

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// token answers GET /api/token, the busiest route by far.
func (a *api) token(ctx context.Context, r *request) (any, error) {
	ref, flush, err := r.wanted()
	if err != nil {
		return nil, err
	}
	var lease *realm.Lease
	if flush {
		r.words = flushWords
		lease, err = a.broker.ReadBy(ctx, ref, a.broker.Flush)
	} else {
		lease, err = a.broker.Read(ctx, ref)
	}
	if err != nil {
		return nil, err
	}
	return appendLease(make(json.RawMessage, 0, len(lease.Access)+128), lease, a.now()), nil
}

// wanted reads whose token is asked for from the query; what is not there is
// looked for in a JSON body, as the earlier service's documentation has it.
func (r *request) wanted() (ref realm.Ref, flush bool, err error) {
	if len(r.body) > 0 {
		if ref, flush, err = wantedInBody(r.body); err != nil {
			return ref, flush, err
		}
	}
	for _, p := range []struct {
		name  string
		value *string
	}{{"realm", &ref.Realm}, {"key", &ref.Key}} {
		s, err := r.query.text(p.name)
		if err != nil {
			return ref, false, err
		}
		if s != "" {
			*p.value = s
		}
		if *p.value == "" {
			return ref, false, realm.Fieldf(p.name, "is required")
		}
	}
	flush, err = r.query.flag("flush", flush)
	return ref, flush, err
}

// wantedInBody reads the reference from a JSON body.
func wantedInBody(body []byte) (ref realm.Ref, flush bool, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return ref, false, err
	}
	if _, err = o.take("realm", &ref.Realm); err != nil {
		return ref, false, err
	}
	if _, err = o.take("key", &ref.Key); err != nil {
		return ref, false, err
	}
	if raw, ok := o["flush"]; ok && !isNull(raw) {
		if flush, err = parseFlag("flush", strings.Trim(string(raw), `"`)); err != nil {
			return ref, false, err
		}
	}
	return ref, flush, o.end("flush")
}

// appendLease encodes the answer. It is the one place of the API at which a
// confidential value leaves.
func appendLease(b json.RawMessage, l *realm.Lease, now time.Time) json.RawMessage {
	b = append(b, `{"token":`...)
	b = appendText(b, l.Access.Reveal())
	if l.Expires == 0 {
		b = append(b, `,"expires_in":null,"expires_at":null`...)
	} else {
		end := l.Expires.Time().UnixMilli()
		b = append(b, `,"expires_in":`...)
		b = strconv.AppendInt(b, max(0, end-now.UnixMilli()), 10)
		b = append(b, `,"expires_at":`...)
		b = strconv.AppendInt(b, end, 10)
	}
	b = append(b, `,"source":`...)
	b = appendText(b, l.Source.String())
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
