package fakeprovider

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// half announces an answer, sends half of it and closes the connection.
func half(g wire) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		body := raw(http.StatusOK, jsonType, good)(g).raw
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// gigabyte sends 1 GiB, or as much of it as the caller takes.
func gigabyte(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", jsonType)
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 1 << 10 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// slowly is a writer that takes a pause before each byte of a body.
func slowly(w http.ResponseWriter, r *http.Request, pause time.Duration) http.ResponseWriter {
	if pause <= 0 {
		return w
	}
	return trickle{w, r, pause}
}

type trickle struct {
	http.ResponseWriter
	r     *http.Request
	pause time.Duration
}

func (t trickle) Write(b []byte) (int, error) {
	for i := range b {
		if !pass(t.r.Context(), nil, t.pause) {
			return i, t.r.Context().Err()
		}
		if _, err := t.ResponseWriter.Write(b[i : i+1]); err != nil {
			return i, err
		}
		_ = http.NewResponseController(t.ResponseWriter).Flush()
	}
	return len(b), nil
}

// Unwrap is for http.ResponseController.
func (t trickle) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// reset closes the connection with an RST.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok { // a pipe knows no RST
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// bomb is 64 MiB of blanks, compressed to less than 1 MiB.
var bomb = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil { // the level is a constant
		panic(err)
	}
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		_, _ = w.Write(chunk)
	}
	_ = w.Close()
	return out.Bytes()
})
