package inject

import (
	"errors"
	"io"
)

const (
	// bodyBuffer is how much of a body is read at once, where that much is there.
	bodyBuffer = 32 << 10
	// minRead is how much room there must be before a Read.
	minRead = 4 << 10
)

// maskedBody is a body without the tokens. It hands on what came as soon as it is
// settled, and holds back only what may be the beginning of a form: at most the
// longest way to write one.
type maskedBody struct {
	masker
	source  io.Reader
	memory  []byte // of buf
	settled int    // how many bytes of buf can be handed on
	err     error  // what source ended with
}

func newMaskedBody(t *trie, source io.Reader) *maskedBody {
	return &maskedBody{masker: newMasker(t), source: source}
}

// Read reads the body. Where its source fails, what is held back is dropped: it may
// be a token that misses its last character, and the body is not complete anyhow.
func (b *maskedBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.settled == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
	n := copy(p, b.buf[:b.settled])
	b.release(n)
	b.settled -= n
	return n, nil
}

// fill reads from the source once.
func (b *maskedBody) fill() {
	if cap(b.buf)-len(b.buf) < minRead {
		b.makeRoom()
	}
	n, err := b.source.Read(b.buf[len(b.buf):cap(b.buf)])
	b.buf, b.err = b.buf[:len(b.buf)+n], err
	b.settled = b.scan(errors.Is(err, io.EOF))
}

// makeRoom moves what is held back to the beginning of the memory. It is at most
// half of that, so that each move is paid for by as many bytes that were read.
func (b *maskedBody) makeRoom() {
	if size := max(bodyBuffer, 2*len(b.buf)); len(b.memory) < size {
		b.memory = make([]byte, size)
	}
	b.buf = b.memory[:copy(b.memory, b.buf)]
}
