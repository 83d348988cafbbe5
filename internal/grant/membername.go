package grant

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// memberName is the last name of a rule's path. Where the rule holds for a document,
// the name stands in it, before a value that the rule accepts. To look for that costs
// a fraction of the walk along the path. With the zero value, nothing is known.
type memberName struct {
	quoted []byte // as it stands in a document, unless it is escaped
	rare   int    // the index in quoted of the byte that documents have least of
	isEnd  bool   // the path ends with it, and not with an index or "*"
}

// lastNameOf is the last name of a path: further inside, names are more particular.
func lastNameOf(p pattern) memberName {
	isEnd := true
	for _, names := range slices.Backward(p) {
		for _, name := range slices.Backward(names) {
			if _, ok := arrayIndex(name); !ok { // an index may be a name as well
				return newMemberName(name, isEnd)
			}
			isEnd = false
		}
		isEnd = false
	}
	return memberName{}
}

// newMemberName takes a name that is spelled as it is, or with escapes of the form
// \u00XX. Of one that has further spellings nothing is known.
func newMemberName(name string, isEnd bool) memberName {
	rare := 0
	for i, c := range []byte(name) {
		if c < ' ' || c > '~' || strings.IndexByte(`"\/`, c) >= 0 {
			return memberName{}
		}
		if rarity(c) > rarity(name[rare]) {
			rare = i
		}
	}
	return memberName{quoted: []byte(`"` + name + `"`), rare: rare + 1, isEnd: isEnd}
}

// rarity is the greater, the fewer of a byte there are in a typical document.
func rarity(c byte) int {
	const mostFirst = "etaoinsrhdlucmfpgwybvkxqjz"
	if 'A' <= c && c <= 'Z' {
		return len(mostFirst)
	}
	return strings.IndexByte(mostFirst, c) // -1: a digit, or a mark such as - and _
}

// mayHold reports whether a rule whose path this is the last name of may hold for a
// document, if that is JSON. Most documents tell in a few microseconds that it does
// not: the name is not there, or its value is "ok".
func (n memberName) mayHold(r *rule, document []byte) bool {
	if n.quoted == nil || n.mayBeEscaped(document) {
		return true
	}
	for from := n.rare; from < len(document); from++ {
		i := bytes.IndexByte(document[from:], n.quoted[n.rare])
		if i < 0 {
			return false
		}
		from += i
		rest, found := bytes.CutPrefix(document[from-n.rare:], n.quoted)
		if found && (!n.isEnd || beginsAccepted(r, rest)) {
			return true
		}
	}
	return false
}

// mayBeEscaped reports whether a document has an escape that may be a part of the
// name: one of a byte of it.
func (n memberName) mayBeEscaped(document []byte) bool {
	const escape, digits = `\u00`, 2
	for {
		i := bytes.Index(document, []byte(escape))
		if i < 0 || i+len(escape)+digits > len(document) {
			return false
		}
		document = document[i+len(escape):]
		c, err := strconv.ParseUint(string(document[:digits]), 16, 8)
		if err == nil && bytes.IndexByte(n.quoted[1:len(n.quoted)-1], byte(c)) >= 0 {
			return true
		}
	}
}

// beginsAccepted reports whether what stands behind a name is a colon and a value
// that the rule accepts.
func beginsAccepted(r *rule, rest []byte) bool {
	const space = " \t\r\n"
	value, found := bytes.CutPrefix(bytes.TrimLeft(rest, space), []byte(":"))
	return found && r.accepts(gjson.Parse(uncopied(bytes.TrimLeft(value, space))))
}

// uncopied is a text as a string without a copy. It must not be kept.
func uncopied(text []byte) string {
	return unsafe.String(unsafe.SliceData(text), len(text)) //nolint:gosec // nobody changes it meanwhile
}
