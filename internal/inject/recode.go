package inject

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how far a body in zstd may refer back (RFC 9659 section 3). It bounds
// the memory of a decoder.
const maxWindow = 8 << 20

// encoder puts a content coding on.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// encoders are the pools of those that are not in use, which take some memory each.
// They are fast rather than thorough: the body was small enough as it came.
var (
	gzipEncoders = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
		return w
	}}
	zstdEncoders = sync.Pool{New: func() any {
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), // the options are valid
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
		return w
	}}
)

// decode takes a coding off that canUnpack knows. What is read from the result has
// come so far: neither decoder waits for more than the next block. A decoder of zstd
// without concurrency has no goroutine, and need not be closed.
func decode(coding string, source io.Reader) (io.Reader, error) {
	if strings.EqualFold(coding, "zstd") {
		return zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	}
	return gzip.NewReader(source)
}

// encodersOf returns the pool for a coding.
func encodersOf(coding string) *sync.Pool {
	if strings.EqualFold(coding, "zstd") {
		return &zstdEncoders
	}
	return &gzipEncoders
}

// recodedBody is a body with a content coding, without the tokens: it is decoded,
// masked, and encoded again. What came is handed on at once, as with a body without
// a coding: each block is flushed, so that an event of a stream is not held back by
// the coding.
type recodedBody struct {
	coding  string
	trie    *trie
	source  io.Reader
	masked  *maskedBody // nil before the first Read, since to begin is to read
	encoder encoder     // nil when the body has ended
	out     bytes.Buffer
	block   []byte
	err     error // what the body ended with
}

// Read reads the body. One that is damaged or cut off ends with an error, and never
// as if it were complete.
func (b *recodedBody) Read(p []byte) (int, error) {
	for b.out.Len() == 0 && b.err == nil {
		if b.err = b.readBlock(); b.err != nil && b.encoder != nil {
			encodersOf(b.coding).Put(b.encoder)
			b.encoder = nil
		}
	}
	if b.out.Len() == 0 {
		return 0, b.err
	}
	return b.out.Read(p)
}

// readBlock encodes what the next Read of the decoded body brings.
func (b *recodedBody) readBlock() error {
	if b.masked == nil {
		source := bufio.NewReader(b.source)
		if _, err := source.Peek(1); err != nil { // io.EOF of a body without any byte, among others
			return err
		}
		decoded, err := decode(b.coding, source)
		if err != nil {
			return err
		}
		b.masked, b.block = newMaskedBody(b.trie, decoded), make([]byte, bodyBuffer)
		b.encoder = encodersOf(b.coding).Get().(encoder)
		b.encoder.Reset(&b.out)
	}
	n, err := b.masked.Read(b.block)
	_, fault := b.encoder.Write(b.block[:n])
	switch {
	case errors.Is(err, io.EOF):
		fault = errors.Join(fault, b.encoder.Close())
	case err == nil:
		fault = errors.Join(fault, b.encoder.Flush())
	}
	if fault != nil {
		return fault
	}
	return err
}
