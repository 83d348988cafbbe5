package realm

import "net/http"

// DefaultReplayMax is how many bytes of a request's body are kept for a replay
// where the realm does not say.
const DefaultReplayMax = Size(1 << 20)

// DeadRule is a realm's renew_on, compiled: it tells the answer of an API that
// refused the token as such. It is safe for concurrent use.
type DeadRule interface {
	// Head judges by the status and the header alone.
	Head(status int, header http.Header) Verdict
	// Look says which beginning of a body is worth looking at, for an answer of
	// which Head says AskBody.
	Look(status int, header http.Header) Look
	// Looks reports whether there is a status that Head answers with AskBody.
	Looks() bool
	// Body judges an answer by its body, without its content coding: by all of it,
	// which whole reports, or by the beginning of a longer one. It is not kept.
	Body(status int, header http.Header, body []byte, whole bool) bool
	// AwaitsTrailer reports whether a trailer may tell that an answer of this status
	// refused the token.
	AwaitsTrailer(status int) bool
	// Trailer judges by the trailer alone.
	Trailer(status int, trailer http.Header) bool
	// Which is the index of the first rule by which Head or Body takes the answer for
	// that of a dead token.
	Which(status int, header http.Header, body []byte, whole bool) (index int, ok bool)
}

// Verdict is what an answer says about the token that it was asked with.
type Verdict uint8

// The verdicts.
const (
	Alive   Verdict = iota // no rule takes it for dead
	Dead                   // the API refused the token
	AskBody                // only the body can tell
)

// Look is which bodies are looked into. A greater one includes the lesser ones.
type Look uint8

// What a body has to begin with, perhaps behind white space.
const (
	LookNowhere  Look = iota // no body is looked into
	LookAtObject             // "{"
	LookAtJSON               // "{" or "["
	LookAtText               // anything; of a longer one the beginning is looked at
)
