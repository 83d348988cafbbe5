package grant

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// APIAnswer is an answer of the provider's API to one call with a token.
type APIAnswer struct {
	Status int
	Header http.Header
	// Body is all of it, or its beginning.
	Body []byte
	Took time.Duration
}

// ReportAnswer tells what an API answered: never its body, and with all that is
// confidential masked in what is told: the secret, the token of the lease, what was
// made of them, and what was kept with the token.
func (b *Bound) ReportAnswer(a APIAnswer, lease *realm.Lease) *ReportResponse {
	const most = 50
	root, _ := parseDocument(a.Body, realm.ContentJSON)
	confidential := append(b.confidential(), lease.Access.Reveal())
	confidential = slices.Concat(confidential, lease.Values)
	for _, value := range lease.Target.Kept.Reveal() {
		confidential = append(confidential, value)
	}
	said, redact := wordsOf(root), newRedactor(confidential)
	if a.Status < http.StatusBadRequest && said.code == "" {
		said.message = "" // a part of what was asked for
	}
	return &ReportResponse{
		Status: a.Status, ContentType: redact.text(a.Header.Get("Content-Type")), Bytes: len(a.Body), Names: memberNames(root, redact, most),
		ProviderCode: redact.text(said.code), ProviderMessage: redact.text(said.message), DurationMS: a.Took.Milliseconds(), Form: formOf(a.Body, root),
	}
}
