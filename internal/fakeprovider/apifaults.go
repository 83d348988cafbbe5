package fakeprovider

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// APIFaults are what goes wrong with the calls of the API. The zero value:
// nothing.
type APIFaults struct {
	// Latency passes before the API looks at the token of a call, which may die
	// meanwhile.
	Latency time.Duration
	// Status is the whole answer to every call, without a look at its token.
	Status int
	// HangUp closes the connection of every call instead of an answer, after
	// the look at its token: a call with a live one has been acted upon.
	HangUp bool
	// Encoding compresses the answers to dead calls, whether the caller accepts
	// that or not.
	Encoding Encoding
	// Trickle passes before each byte of an answer.
	Trickle time.Duration
}

// Encoding is a content coding (RFC 9110 section 8.4.1).
type Encoding string

// The codings.
const (
	Gzip    Encoding = "gzip"
	Deflate Encoding = "deflate"
	Zstd    Encoding = "zstd" // RFC 8878
)

// encoded is the reply with its body in a coding; as it is for none.
func (a reply) encoded(e Encoding) reply {
	if e == "" {
		return a
	}
	a = a.flat().with("Content-Encoding", string(e))
	a.raw = e.encode(a.raw)
	return a
}

func (e Encoding) encode(b []byte) []byte {
	var out bytes.Buffer
	w := e.writer(&out)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

func (e Encoding) writer(out io.Writer) io.WriteCloser {
	switch e {
	case Gzip:
		return gzip.NewWriter(out)
	case Deflate: // which is the zlib format
		return zlib.NewWriter(out)
	case Zstd:
		w, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
		if err != nil { // the options are constants
			panic(err)
		}
		return w
	}
	panic("fakeprovider: no coding is called " + strconv.Quote(string(e)))
}
