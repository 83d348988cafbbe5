package sqlstore

import (
	"encoding/binary"
	"fmt"
	"time"
)

// inClear is the form in which a seal covers the columns beside it
// (tokenstore.AD.Row): each with its length, times in microseconds. It is never
// empty, so that no seal of schema 4, which covered none of them, can stand for
// one of today.
func inClear(columns ...any) string {
	b := []byte{byte(len(columns))}
	for _, column := range columns {
		var text []byte
		switch v := column.(type) {
		case []byte:
			text = v
		case string:
			text = []byte(v)
		case time.Time:
			if !v.IsZero() {
				text = binary.AppendVarint(nil, v.UnixMicro())
			}
		default: // the columns are written down in this package
			panic(fmt.Sprintf("a column of type %T", column))
		}
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return string(b)
}
