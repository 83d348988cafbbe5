package inject

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
)

// harmfulNames are of fields that must not be trailers (RFC 9110 section 6.5.1):
// whoever merges the trailers into the header would frame, route or read the
// message in another way than the one who read only the header.
var harmfulNames = [...]string{
	"Host", "Content-Length", "Transfer-Encoding", "Trailer",
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade",
	"Content-Encoding", "Content-Type", "Content-Range",
	"Expect", "Max-Forwards", "Range", "Set-Cookie",
}

// isHarmfulTrailer reports whether a field must not be a trailer.
func isHarmfulTrailer(name string) bool {
	for _, harmful := range harmfulNames {
		if isAlias(name, harmful) {
			return true
		}
	}
	return false
}

// trailerFilter is a request body at whose end the trailers are filtered. They
// come after the body: whoever reads the body puts them into the request's
// Trailer map at the moment of io.EOF, before the transport writes them.
type trailerFilter struct {
	io.ReadCloser
	trailer http.Header
	// announced are the names that the provider was told of. Go sends whatever
	// is in the map, and a provider may not have asked a filter of its own about
	// the others.
	announced []string
	filter    filter
}

// Read reads the body.
func (b *trailerFilter) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		strip(b.trailer, func(name string) bool {
			return !slices.Contains(b.announced, name) || b.filter.dropsTrailer(name)
		})
	}
	return n, err
}

// dropsTrailer reports whether a trailer does not go to the provider.
func (f filter) dropsTrailer(name string) bool { return f.drops(name) || isHarmfulTrailer(name) }

// filterTrailers keeps the trailers that f drops from being sent: those that the
// caller announced, and those that come at the end of the body, where only what
// was announced may come. A request of known length that announces no trailers
// has none.
func (f filter) filterTrailers(out *outgoing) {
	if out.Trailer == nil {
		return
	}
	announced := len(out.Trailer) > 0
	strip(out.Trailer, f.dropsTrailer)
	if out.Body == nil || out.Body == http.NoBody || !announced && out.ContentLength >= 0 {
		return
	}
	out.body = trailerFilter{out.Body, out.Trailer, slices.Collect(maps.Keys(out.Trailer)), f}
	out.Body, out.GetBody = &out.body, nil // a second body would not be filtered
}
