package realm

import "encoding/binary"

// Ref names one credential everywhere: the realm's id and the secret's key.
// It is a tuple on purpose. Joining the two into one string would make
// ("a|b", "c") and ("a", "b|c") the same credential.
type Ref struct {
	Realm string
	Key   string
}

// AppendTo appends the length-prefixed form of the reference to b: the form
// to use wherever a tuple has to become bytes (associated data of a seal,
// a Redis key).
func (r Ref) AppendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Realm)))
	b = append(b, r.Realm...)
	b = binary.AppendUvarint(b, uint64(len(r.Key)))
	return append(b, r.Key...)
}

// CutRef reads a reference that AppendTo wrote from the front of b, and returns
// the rest of b; false where b does not begin with one.
func CutRef(b []byte) (r Ref, rest []byte, ok bool) {
	if r.Realm, b, ok = cutText(b); !ok {
		return Ref{}, nil, false
	}
	if r.Key, b, ok = cutText(b); !ok {
		return Ref{}, nil, false
	}
	return r, b, true
}

// cutText reads one length-prefixed text. The length is compared with what is
// there before anything is cut: the bytes may be anybody's.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	b = b[n:]
	return string(b[:size]), b[size:], true
}

// String is for logs: neither part is confidential.
func (r Ref) String() string { return r.Realm + "/" + r.Key }
