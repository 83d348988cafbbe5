package tokenstore

import "context"

// The states of a key, see KeyUse.
const (
	KeySealing   = "sealing"   // it seals what is written
	KeyNeeded    = "needed"    // rows are sealed with it
	KeyRemovable = "removable" // nothing is sealed with it: the operator can take it away
	KeyRemoved   = "removed"   // nothing was sealed with it, and it was taken out of the key file
)

// KeyUse tells what one encryption key is still good for.
type KeyUse struct {
	Fingerprint string `json:"fingerprint"`
	State       string `json:"state"`
	// Rows counts those that are sealed with it.
	Rows int64 `json:"rows"`
}

// TableProgress is how far the rotation of the keys is with one table: so many
// rows of those that an older key sealed are done. Damaged rows, which no key
// opens, stay as they are.
type TableProgress struct {
	Table   string `json:"table"`
	Done    int64  `json:"done"`
	Total   int64  `json:"total"`
	Damaged int64  `json:"damaged,omitempty"`
}

// Rotation is what a rotation of the keys did.
type Rotation struct {
	// Generated: a new key was made and put in front in the key file.
	Generated bool            `json:"generated,omitempty"`
	Tables    []TableProgress `json:"tables"`
	Keys      []KeyUse        `json:"keys"`
}

// KeyRotator is implemented by stores that can seal their rows anew.
type KeyRotator interface {
	// RotateKeys seals with the first key everything that an older one sealed.
	// Where the keys lie in a key file it makes a new one first, unless an earlier
	// rotation has not come to its end, and takes those out of the file that
	// nothing is sealed with any more. It may be interrupted anywhere, and goes
	// on when it is called again; others may read and write meanwhile. progress
	// is told after each batch of rows.
	RotateKeys(ctx context.Context, progress func(TableProgress)) (Rotation, error)
}
