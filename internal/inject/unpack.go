package inject

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// unpacker takes the content coding off an answer.
type unpacker struct {
	gzip gzip.Reader
	in   bytes.Reader
	out  []byte
}

var unpackers = sync.Pool{New: func() any { return &unpacker{out: make([]byte, maxPeek+1)} }}

// zstdDecoder is shared: DecodeAll may be called concurrently, and does not
// get memory for the window that a frame asks for. It writes no more than fits
// into the buffer that it is given.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
})

// isPacked reports whether an answer has a content coding. The empty one and
// identity, which should not be there (RFC 9110 section 8.4.1), are none.
func isPacked(coding string) bool { return coding != "" && !strings.EqualFold(coding, "identity") }

// canUnpack reports whether the coding is one that unpack knows.
func canUnpack(coding string) bool {
	return strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip") || strings.EqualFold(coding, "zstd")
}

// unpacked calls judge with an answer without its content coding. It returns
// false, and does not call it, when there is more than maxPeek, or what came
// is damaged. judge must not keep what it gets.
func unpacked(coding string, packed []byte, judge func(document []byte)) bool {
	u := unpackers.Get().(*unpacker)
	defer unpackers.Put(u)
	unpack := u.gunzip
	if strings.EqualFold(coding, "zstd") {
		unpack = u.unzstd
	}
	document, err := unpack(packed)
	if err != nil || len(document) > maxPeek {
		return false
	}
	judge(document)
	return true
}

func (u *unpacker) gunzip(packed []byte) ([]byte, error) {
	u.in.Reset(packed)
	defer u.in.Reset(nil)
	if err := u.gzip.Reset(&u.in); err != nil {
		return nil, err
	}
	n := 0
	for n < len(u.out) {
		k, err := u.gzip.Read(u.out[n:])
		n += k
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return u.out[:n], nil
}

func (u *unpacker) unzstd(packed []byte) ([]byte, error) {
	d, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	return d.DecodeAll(packed, u.out[:0:maxPeek])
}
