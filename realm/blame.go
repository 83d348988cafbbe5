package realm

// Blame says what is probably at fault when an API refuses a request in the way
// in which it refuses a dead token. Many APIs answer a missing right with the
// same status, and no token cures that.
type Blame uint8

// What may be at fault.
const (
	// BlameUnknown: nothing is known about such a request.
	BlameUnknown Blame = iota
	// BlameToken: the API accepted such a request before, so the token has
	// probably died since.
	BlameToken
	// BlameRequest: a fresh token did not cure this refusal before. To fetch
	// another one for it would be a waste.
	BlameRequest
)
