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

// String is for logs: neither part is confidential.
func (r Ref) String() string { return r.Realm + "/" + r.Key }
