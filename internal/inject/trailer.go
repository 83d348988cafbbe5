package inject

import (
	"errors"
	"io"
	"net/http"
)

// trailerFilter is a request body at whose end the trailers are cleaned. They
// come behind the body, and the reader of the body puts them into the
// request's Trailer map at the moment of io.EOF, before the transport writes
// them.
type trailerFilter struct {
	io.ReadCloser
	trailer http.Header
	filter  filter
}

// Read reads the body.
func (b *trailerFilter) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		strip(b.trailer, b.filter.drops)
	}
	return n, err
}

// trailers keeps the trailers that f drops from leaving, announced and come.
// A request without announced trailers and with a known length can have none.
func (f filter) trailers(out *outgoing) {
	if out.Trailer == nil {
		return
	}
	announced := len(out.Trailer) > 0
	strip(out.Trailer, f.drops)
	if out.Body == nil || out.Body == http.NoBody || !announced && out.ContentLength >= 0 {
		return
	}
	out.body = trailerFilter{out.Body, out.Trailer, f}
	out.Body, out.GetBody = &out.body, nil // a second body would not be filtered
}
