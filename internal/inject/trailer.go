package inject

import (
	"errors"
	"io"
	"net/http"
)

// trailerFilter is a request body at whose end the trailers are filtered. They
// come after the body: whoever reads the body puts them into the request's
// Trailer map at the moment of io.EOF, before the transport writes them.
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

// filterTrailers keeps the trailers that f drops from being sent: those that the
// caller announced, and those that come at the end of the body. A request of
// known length that announces no trailers has none.
func (f filter) filterTrailers(out *outgoing) {
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
