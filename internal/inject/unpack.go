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

// unpackedBeginning calls judge with the first maxPeek bytes of an answer without its
// content coding, as far as they came; whole reports that there are no more. It
// returns false, and does not call it, when nothing can be unpacked. judge must not
// keep what it gets.
func unpackedBeginning(coding string, packed []byte, judge func(text []byte, whole bool)) bool {
	u := unpackers.Get().(*unpacker)
	defer unpackers.Put(u)
	text, err := u.begin(coding, packed, u.out)
	if len(text) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	judge(text[:min(len(text), maxPeek)], errors.Is(err, io.EOF) && len(text) <= maxPeek)
	return true
}

// beginsObjectIn reports whether a body with a content coding may be the beginning of
// a JSON object, by the beginning of what came.
func beginsObjectIn(coding string, packed []byte) bool {
	const enough = 64 // white space may stand in front
	u := unpackers.Get().(*unpacker)
	defer unpackers.Put(u)
	text, err := u.begin(coding, packed, u.out[:enough])
	isDamaged := err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
	return beginsObject(text) && (len(text) > 0 || !isDamaged)
}

// begin unpacks the beginning of an answer into a buffer, as far as it came. The
// error is nil where the buffer is full.
func (u *unpacker) begin(coding string, packed, buf []byte) (text []byte, err error) {
	u.in.Reset(packed)
	defer u.in.Reset(nil)
	source := io.Reader(&u.gzip)
	if strings.EqualFold(coding, "zstd") {
		source, err = decode(coding, &u.in)
	} else {
		err = u.gzip.Reset(&u.in)
	}
	n := 0
	for n < len(buf) && err == nil {
		var k int
		k, err = source.Read(buf[n:])
		n += k
	}
	return buf[:n], err
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
