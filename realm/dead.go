package realm

// DefaultReplayMax is how many bytes of a request's body are kept for a replay
// where the realm does not say.
const DefaultReplayMax = Size(1 << 20)

// DeadRule is a realm's renew_on, compiled: it tells the answer of an API that
// refused the token as such. It is safe for concurrent use.
type DeadRule interface {
	// Status judges by the status alone.
	Status(status int) Verdict
	// Looks reports whether there is a status that Status answers with AskBody.
	Looks() bool
	// Body judges an answer that is there as a whole, without its content
	// coding. A document that is not JSON does not tell a dead token. It is
	// not kept.
	Body(status int, document []byte) bool
}

// Verdict is what an answer says about the token that it was asked with.
type Verdict uint8

// The verdicts.
const (
	Alive   Verdict = iota // no rule takes it for dead
	Dead                   // the API refused the token
	AskBody                // only the body can tell
)
