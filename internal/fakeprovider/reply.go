package fakeprovider

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// reply is one answer. Body is written as JSON, unless raw or stream is set.
type reply struct {
	status int
	header http.Header
	body   any
	raw    []byte
	holds  []string // the tokens that its reader gets out of it
	// stream writes the answer itself, for those that http.ResponseWriter's
	// rules do not allow.
	stream func(http.ResponseWriter, *http.Request)
}

func jsonReply(status int, body any) reply { return reply{status: status, body: body} }

func (a reply) with(name, value string) reply {
	h := http.Header{}
	if a.header != nil {
		h = a.header.Clone()
	}
	h.Set(name, value)
	a.header = h
	return a
}

// retryAfter adds the header of that name in seconds, rounded up
// (RFC 9110 section 10.2.3).
func (a reply) retryAfter(d time.Duration) reply {
	if d <= 0 {
		return a
	}
	return a.with("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
}

func (a reply) write(w http.ResponseWriter, r *http.Request) {
	if a.stream != nil {
		a.stream(w, r)
		return
	}
	a = a.flat()
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.raw)
}

// flat is the reply with its body in raw.
func (a reply) flat() reply {
	if a.body == nil {
		return a
	}
	if a.header.Get("Content-Type") == "" {
		a = a.with("Content-Type", "application/json; charset=utf-8")
	}
	a.raw, _ = json.Marshal(a.body) // strings, numbers and maps of them
	a.body = nil
	return a
}

// wire is a granted token on its way out.
type wire struct {
	names   names
	extras  map[string]any
	now     time.Time
	token   string
	life    time.Duration
	refresh string
	user    string
	// refreshLife is sent where it is not zero.
	refreshLife time.Duration
}

// reply is the answer as the provider documents it.
func (g wire) reply() reply {
	body := map[string]any{g.names.token: g.token, g.names.expiry: g.seconds(g.life)}
	holds := []string{g.token}
	if g.refresh != "" {
		body[cmp.Or(g.names.refresh, "refresh_token")] = g.refresh
		holds = append(holds, g.refresh)
	}
	if g.refreshLife > 0 {
		body[cmp.Or(g.names.refreshEnd, "refresh_expires_in")] = g.refreshEnd()
	}
	if g.names.clock != "" {
		body[g.names.clock] = g.now.UnixMilli()
	}
	if g.names.user != "" {
		body[g.names.user] = g.user
	}
	if g.names.inside != "" {
		body = map[string]any{g.names.inside: body}
	}
	for name, value := range g.extras {
		body[name] = value
	}
	// RFC 6749 section 5.1; the others do no harm with it.
	a := jsonReply(http.StatusOK, body).with("Cache-Control", "no-store")
	a.holds = holds
	return a
}

func (g wire) refreshEnd() any {
	if g.names.epoch {
		return g.now.Add(g.refreshLife).UnixMilli()
	}
	return g.seconds(g.refreshLife)
}

func (g wire) seconds(d time.Duration) any {
	s := int64(d / time.Second)
	if g.names.text {
		return strconv.FormatInt(s, 10)
	}
	return s
}
