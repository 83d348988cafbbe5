package adminapi

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// typeLines is one JSON value a line.
const typeLines = "application/x-ndjson"

// linePatience is how long a line waits for its reader. One that neither reads
// nor hangs up would hold the workers for ever.
const linePatience = time.Minute

// lines is an answer that is sent line by line, each as soon as it is known.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	kind    string // its media type
	started bool
}

func newLines(w http.ResponseWriter, kind string) *lines {
	return &lines{w: w, control: http.NewResponseController(w), kind: kind}
}

// begun reports whether anything was sent. Until then the answer can still become
// a refusal.
func (l *lines) begun() bool { return l != nil && l.started }

// send sends one line. It returns no error: the context ends when the caller has
// gone or does not read.
func (l *lines) send(v any) {
	line, err := json.Marshal(v)
	if err != nil { // words and numbers only
		panic(err)
	}
	_, _ = l.Write(append(line, '\n'))
}

// Write sends whole lines, or parts of them, at once.
func (l *lines) Write(text []byte) (int, error) {
	l.start()
	_ = l.control.SetWriteDeadline(time.Now().Add(linePatience))
	n, err := l.w.Write(text)
	_ = l.control.Flush()
	return n, err
}

// start begins the answer, also one without a line.
func (l *lines) start() {
	if !l.started {
		l.started = true
		l.w.Header().Set("Content-Type", l.kind)
		l.w.WriteHeader(http.StatusOK)
	}
}

// accepts reports whether the caller names a type among those that it wants, and
// not as one that it does not (weight 0, RFC 9110 section 12.4.2). One that takes
// anything gets JSON.
func accepts(h http.Header, kind string) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		if named, with, err := mime.ParseMediaType(part); err == nil && named == kind {
			weight, err := strconv.ParseFloat(with["q"], 64)
			return err != nil || weight > 0
		}
	}
	return false
}
