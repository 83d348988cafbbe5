package inject

import (
	"bytes"
	"errors"
)

// errFraming is the error for a message whose end cannot be told. net/http refuses
// such a message by itself.
var errFraming = errors.New("the end of the message cannot be told")

// part is what a framing expects next.
type part uint8

const (
	atStart    part = iota // nothing of the message was read
	atHeader               // a line of the header
	atBody                 // left bytes of the body
	atOpenBody             // a body that ends with the connection
	atSize                 // the line with a chunk's size
	atChunk                // left bytes of a chunk
	atChunkEnd             // the line break behind a chunk
	atTrailer              // a line of the trailers
	atEnd                  // the message is complete
)

// maxKeptLine is how much of a line is kept. What decides about the length is
// shorter.
const maxKeptLine = 128

// framing finds the end of an HTTP/1.1 message (RFC 9112 section 6), as net/http
// does. It is fed with whatever pieces the message comes in.
type framing struct {
	part part
	// decide is called at the end of the header, with its first line, and tells
	// whether a body follows whatever the header says.
	decide func(first []byte) bodyRule

	first   []byte // the first line of the header, its beginning
	line    []byte // what is read of the current line, its beginning
	left    int64  // of the body or chunk
	length  int64  // Content-Length; -1 where there is none
	chunked bool
	// field is the field of the line before that decides about the length: its value
	// may go on in this one (RFC 9112 section 5.2).
	field lengthField
}

// lengthField is a header field that decides about the length of a message.
type lengthField uint8

const (
	otherField lengthField = iota
	contentLength
	transferEncoding
)

// bodyRule tells whether a message has a body.
type bodyRule uint8

const (
	bodyAsHeaderSays bodyRule = iota // with no length in it: none
	bodyToTheEnd                     // with no length in it: until the connection ends
	noBody
	anotherHeader // an interim answer: the message goes on with another header
)

// next reads a piece, and returns how much of it belongs to the message.
func (f *framing) next(p []byte) (n int, err error) {
	for n < len(p) && f.part != atEnd {
		switch f.part {
		case atOpenBody:
			return len(p), nil
		case atBody, atChunk:
			take := min(f.left, int64(len(p)-n))
			f.left -= take
			n += int(take)
			if f.left == 0 {
				f.bodyEnded()
			}
			continue
		case atStart:
			f.part, f.length, f.chunked = atHeader, -1, false
			f.first, f.line, f.field = f.first[:0], f.line[:0], otherField
		case atHeader, atSize, atChunkEnd, atTrailer, atEnd:
		}
		end := bytes.IndexByte(p[n:], '\n')
		piece := p[n:]
		if end >= 0 {
			piece = p[n : n+end]
		}
		f.line = append(f.line, piece[:min(len(piece), maxKeptLine-len(f.line))]...)
		if end < 0 {
			return len(p), nil
		}
		n += end + 1
		if err := f.lineEnded(bytes.TrimRight(f.line, "\r")); err != nil {
			return n, err
		}
		f.line = f.line[:0]
	}
	return n, nil
}

// bodyEnded goes on behind a body or a chunk.
func (f *framing) bodyEnded() {
	if f.part == atChunk {
		f.part = atChunkEnd
		return
	}
	f.part = atEnd
}

// lineEnded reads a line.
func (f *framing) lineEnded(line []byte) error {
	switch f.part {
	case atHeader:
		switch {
		case len(f.first) == 0 && len(line) > 0:
			f.first = append(f.first, line...)
		case len(line) == 0:
			return f.headerEnded()
		default:
			return f.headerLine(line)
		}
	case atSize:
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, ok := number(bytes.TrimSpace(size), 16)
		switch {
		case !ok:
			return errFraming
		case n == 0:
			f.part = atTrailer
		default:
			f.part, f.left = atChunk, n
		}
	case atChunkEnd:
		f.part = atSize
	case atTrailer:
		if len(line) == 0 {
			f.part = atEnd
		}
	case atStart, atBody, atOpenBody, atChunk, atEnd:
	}
	return nil
}

// headerLine reads a field that decides about the length.
func (f *framing) headerLine(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case line[0] == ' ' || line[0] == '\t': // the value goes on
		value = line
	case bytes.EqualFold(name, []byte("Content-Length")):
		f.field = contentLength
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		f.field = transferEncoding
	default:
		f.field = otherField
	}
	value = bytes.TrimSpace(value)
	switch {
	case f.field == otherField || len(value) == 0:
	case f.field == transferEncoding:
		f.chunked = bytes.EqualFold(value, []byte("chunked"))
	default:
		n, ok := number(value, 10)
		if !ok {
			return errFraming
		}
		f.length = n
	}
	return nil
}

// headerEnded decides what follows the header.
func (f *framing) headerEnded() error {
	rule := f.decide(f.first)
	switch {
	case rule == anotherHeader:
		f.part = atStart
	case rule == noBody:
		f.part = atEnd
	case f.chunked:
		f.part = atSize
	case f.length > 0:
		f.part, f.left = atBody, f.length
	case f.length == 0, rule == bodyAsHeaderSays:
		f.part = atEnd
	default:
		f.part = atOpenBody
	}
	return nil
}

// number reads a number without an allocation, which strconv would make for its
// error.
func number(digits []byte, base int64) (n int64, ok bool) {
	const enough = 15 // digits; no message is longer
	if len(digits) == 0 || len(digits) > enough {
		return 0, false
	}
	for _, c := range digits {
		d, ok := hexDigit(c)
		if !ok || int64(d) >= base {
			return 0, false
		}
		n = n*base + int64(d)
	}
	return n, true
}
