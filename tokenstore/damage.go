package tokenstore

import "context"

// Damage names a row that cannot be used: it was altered by somebody who does
// not have the key, or a disk failed.
type Damage struct {
	// Kind is "realm", "secret", "token", "pushed", "claim", "budget", "company",
	// "client" or "register"; a register, which is named by Key, has the newest versions
	// of some rows.
	Kind string `json:"kind"`
	// Realm and Key are the row's. A realm and a budget have no Key; a company
	// has its taxpayer id as Key, a client its id, and neither has a Realm.
	Realm string `json:"realm,omitempty"`
	Key   string `json:"key,omitempty"`
}

// DamageReporter is implemented by stores that can look at all their rows.
type DamageReporter interface {
	// Damaged lists the rows that are damaged. It looks at every row; in a
	// large store the answer may be some seconds old.
	Damaged(ctx context.Context) ([]Damage, error)
}
