package inject

import (
	"bytes"
	"slices"
)

// masker masks the forms of a trie in a body that comes in pieces. Each byte of a
// form is replaced by one "*", so that a body keeps its length. What it makes of a
// body does not depend on where the pieces end.
//
// The body is read three times: as it is, with the escapes of JSON undone, and with
// those of percent-encoding undone. A base64 in a JSON string is thus found, too,
// where its "/" is escaped.
type masker struct {
	trie *trie
	buf  []byte // what was read and not yet handed on
	base int64  // where buf begins in the body
	// scanned is where in the body the bytes begin that were not scanned yet.
	scanned    int64
	plain      finder
	unescapers [2]unescaper
}

func newMasker(t *trie) masker {
	return masker{trie: t, unescapers: [...]unescaper{{escapes: jsonEscapes}, {escapes: percentEscapes}}}
}

// scan scans what was added to buf, masks what it finds, and returns how many bytes
// of buf are settled: none that could belong to a form that is not complete yet.
// With final nothing can be added any more, and all of them are settled.
func (m *masker) scan(final bool) int {
	from, end := m.scanned, m.base+int64(len(m.buf))
	m.scanned = end
	before := m.plain.state
	fresh := m.buf[from-m.base:]
	m.plain.scan(m.trie, fresh, from)
	settled, read := end-m.depth(m.plain.state), end
	for i := range m.unescapers {
		u := &m.unescapers[i]
		if !u.differs {
			if bytes.IndexByte(fresh, u.mark) < 0 {
				continue
			}
			u.begin(before, from, m.depth(before))
		}
		u.scan(m.trie, m.buf, m.base, final)
		settled, read = min(settled, u.unsettled(m.trie)), min(read, u.at)
		u.differs = !u.agreesWith(m.trie, m.plain.state, end)
	}
	// Only now, and only what all have read, since all read the body as it came.
	m.mask(&m.plain, read)
	for i := range m.unescapers {
		m.mask(&m.unescapers[i].finder, read)
	}
	if final {
		settled = end
	}
	return int(settled - m.base)
}

func (m *masker) depth(state int32) int64 { return int64(m.trie.nodes[state].depth) }

// release forgets the first n bytes of buf, which are handed on.
func (m *masker) release(n int) {
	m.buf = m.buf[n:]
	m.base += int64(n)
}

// mask masks what a finder has found up to a place in the body; the rest is for the
// next time. What it masked last is not masked once more: a token that repeats itself
// may end at every byte, and the time would be the product of both lengths.
func (m *masker) mask(f *finder, to int64) {
	later := f.found[:0]
	for _, s := range f.found {
		if s.end > to {
			later = append(later, span{max(s.begin, to), s.end})
			s.end = to
		}
		switch {
		case s.begin >= s.end:
		case s.begin > f.masked.end:
			m.fill(s)
			f.masked = s
		default:
			m.fill(span{s.begin, f.masked.begin})
			m.fill(span{f.masked.end, s.end})
			f.masked = span{min(s.begin, f.masked.begin), s.end}
		}
	}
	f.found = later
}

func (m *masker) fill(s span) {
	for at := s.begin; at < s.end; at++ {
		m.buf[at-m.base] = '*'
	}
}

// finder is one reading of the body.
type finder struct {
	state  int32
	found  []span // by their ends
	masked span   // what was masked last
}

// scan reads bytes as they are.
func (f *finder) scan(t *trie, text []byte, offset int64) {
	state := f.state
	for i := 0; i < len(text); i++ {
		if state == 0 {
			for i < len(text) && t.first[text[i]] == 0 {
				i++
			}
			if i == len(text) {
				break
			}
			state = t.first[text[i]]
			continue // no form has one byte
		}
		state = t.next(state, text[i])
		if n := t.nodes[state].longest; n > 0 {
			end := offset + int64(i) + 1
			f.note(span{end - int64(n), end})
			state = t.open(state)
		}
	}
	f.state = state
}

// note keeps what was found. Forms that overlap become one.
func (f *finder) note(s span) {
	if last := len(f.found) - 1; last >= 0 && f.found[last].end >= s.begin {
		f.found[last] = span{min(s.begin, f.found[last].begin), s.end}
		return
	}
	f.found = append(f.found, s)
}

// unescaper is a reading of the body with one kind of escapes undone.
type unescaper struct {
	finder
	*escapes
	// differs: it may have another state than the finder that undoes nothing. Where
	// there has been no escape for long enough it has the same, and reads nothing.
	differs bool
	at      int64 // where it reads on
	// begins are where the last characters begin in the body: at least as many as
	// the state stands for.
	begins []int64
}

// begin takes over the state of the finder that undoes nothing.
func (u *unescaper) begin(state int32, at, depth int64) {
	u.state, u.at, u.begins = state, at, u.begins[:0]
	for begin := at - depth; begin < at; begin++ {
		u.begins = append(u.begins, begin)
	}
}

// scan reads on to the end of buf, or to an escape that is not complete.
func (u *unescaper) scan(t *trie, buf []byte, base int64, final bool) {
	for rest := buf[u.at-base:]; len(rest) > 0; {
		size := 1
		switch c := rest[0]; {
		case c == u.mark:
			e, ok := u.undo(rest, final)
			if !ok {
				return
			}
			size = e.size
			for _, c := range e.bytes[:e.count] {
				u.step(t, c, size)
			}
		case u.state == 0 && t.first[c] == 0:
			for size < len(rest) && t.first[rest[size]] == 0 && rest[size] != u.mark {
				size++
			}
		default:
			u.step(t, c, size)
		}
		rest = rest[size:]
		u.at += int64(size)
	}
}

// step reads one character, which has so many bytes in the body.
func (u *unescaper) step(t *trie, c byte, size int) {
	u.state = t.next(u.state, c)
	u.begins = append(u.begins, u.at)
	if n := int(t.nodes[u.state].longest); n > 0 {
		u.note(span{u.begins[len(u.begins)-n], u.at + int64(size)})
		u.state = t.open(u.state)
	}
	depth := int(t.nodes[u.state].depth)
	if surplus := len(u.begins) - depth; depth == 0 || surplus > depth+1024 {
		u.begins = slices.Delete(u.begins, 0, surplus)
	}
}

// unsettled is where in the body the first character begins that may belong to a
// form that is not complete yet.
func (u *unescaper) unsettled(t *trie) int64 {
	if depth := int(t.nodes[u.state].depth); depth > 0 {
		return u.begins[len(u.begins)-depth]
	}
	return u.at
}

// agreesWith reports whether it and the finder that undoes nothing, which is in this
// state, will go on in the same way until there is an escape. No part of what the
// state stands for may be written by an escape.
func (u *unescaper) agreesWith(t *trie, state int32, end int64) bool {
	return u.at == end && u.state == state && end-u.unsettled(t) == int64(t.nodes[state].depth)
}
