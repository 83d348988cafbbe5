package sqlstore

import "testing"

// TestDigestBindsTheChain: an entry that was written behind another one, by a
// transaction that was rolled back, cannot stand in the chain.
func TestDigestBindsTheChain(t *testing.T) {
	key, text := auditHashKey{1}, []byte(`{"node":"n","seq":2}`)
	first := key.digest(auditDigest{}, []byte("a"))
	second := key.digest(auditDigest{}, []byte("b"))
	if key.digest(first, text) == key.digest(second, text) {
		t.Error("the digest does not depend on the entry before")
	}
	if (auditHashKey{2}).digest(first, text) == key.digest(first, text) {
		t.Error("the digest does not depend on the key")
	}
}
