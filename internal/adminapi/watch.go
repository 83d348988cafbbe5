package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// typeEvents are server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
const typeEvents = "text/event-stream"

const (
	// maxStreams is how many streams a client, a user, the admin token with all its
	// sessions, or an address from which callers come without a credential may have
	// at a time.
	maxStreams = 100
	// rightsCheck is how often a stream looks whether its client still has a
	// right. That of one event is looked at when the event comes.
	rightsCheck = time.Second
	// heartbeat is how often something is sent in any case, so that neither side
	// takes the other for dead. It is shorter than linePatience.
	heartbeat = 15 * time.Second
)

// What is sent beside changes.
const (
	eventReady = "event: ready\ndata: {}\n\n"
	// eventGap: changes were lost, so that the reader has to ask for everything.
	eventGap   = "event: gap\ndata: {}\n\n"
	eventAlive = ": alive\n\n"
)

// watch answers GET /api/watch: what becomes of the tokens that the caller may
// read, until either side ends it. Nobody waits for a reader that does not read.
func (a *api) watch(ctx context.Context, r *request) (any, error) {
	leave, refused := a.streams.enter(r.caller)
	if refused != nil {
		return nil, refused
	}
	defer leave()
	w := a.broker.Watch() // before the first event is sent, so that nothing is missed
	defer w.Close()
	if w.IsDeaf() { // and who took it for one that hears would hear nothing, and not know
		return nil, &realm.Error{
			Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: rightsCheck,
			Detail: "this edge is told of no changes by its upstream now, and has none to tell",
		}
	}
	// nginx holds answers back otherwise.
	r.lines.w.Header().Set("X-Accel-Buffering", "no")
	s := &stream{lines: r.lines, watch: w, clients: a.clients, caller: r.caller}
	s.send(eventReady)
	tick := time.NewTicker(rightsCheck)
	defer tick.Stop()
	for sent := time.Now(); !s.isOver && !w.IsDeaf(); {
		select {
		case <-w.Wake():
			if s.sendChanges() {
				sent = time.Now()
			}
		case now := <-tick.C:
			if now.Sub(sent) >= heartbeat {
				s.send(eventAlive)
				sent = now
			}
			s.checkRights()
		case <-a.ending:
			s.isOver = true
		case <-ctx.Done():
			s.isOver = true
		}
	}
	return reply{status: http.StatusOK}, nil
}

// stream is the answer to one who watches.
type stream struct {
	lines   *lines
	watch   *broker.Watch
	clients Clients
	caller  Caller // with the rights of now
	isOver  bool
}

func (s *stream) send(text string) {
	if _, err := s.lines.Write([]byte(text)); err != nil { // the reader has gone, or does not read
		s.isOver = true
	}
}

// checkRights ends the stream of a client that has gone, or may read nothing any
// more. One whose rights were changed may have lost some, of which no event tells.
func (s *stream) checkRights() {
	if s.caller.Client == nil {
		return
	}
	before := s.caller.Client
	s.caller.Client = s.clients.Current(before)
	switch {
	case s.caller.Client == nil || !s.caller.maySomewhere(access.Read|access.AdminRead):
		s.isOver = true
	case s.caller.Client != before:
		s.send(eventGap)
	}
}

// sendChanges sends what the caller may read of what changed, in one piece. It
// reports whether there was anything.
func (s *stream) sendChanges() bool {
	s.checkRights()
	if s.isOver {
		return false
	}
	changes, isLossy := s.watch.Take()
	var text []byte
	if isLossy {
		text = append(text, eventGap...)
	}
	for _, c := range changes {
		if !s.caller.mayWatch(c.Ref()) {
			continue
		}
		event, err := json.Marshal(c)
		if err != nil { // words and numbers only
			panic(err)
		}
		text = fmt.Appendf(text, "data: %s\n\n", event)
	}
	if len(text) > 0 {
		s.send(string(text))
	}
	return len(text) > 0
}

// mayWatch reports whether the caller may know what becomes of a token, or of a
// realm of which it may read something.
func (c Caller) mayWatch(ref realm.Ref) bool {
	if ref.Key == "" {
		return c.maySome(access.Read|access.AdminRead, ref.Realm)
	}
	return c.may(access.Read, ref) || c.may(access.AdminRead, ref)
}

// streams counts those that are open, by whose they are. The zero value is ready.
type streams struct {
	mu   sync.Mutex
	open map[streamer]int
}

// streamer is whose streams are counted together.
type streamer struct {
	kind CallerKind
	// id is that of a client or a user; address that of a caller who has none,
	// because he needs no credential.
	id, address string
}

// enter counts a stream until leave is called.
func (s *streams) enter(c Caller) (leave func(), refused error) {
	who := streamer{kind: c.Kind, id: c.ID}
	if c.Kind == KindLocal {
		who.address = c.Address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[who] >= maxStreams {
		return nil, &realm.Error{
			Code: realm.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: heartbeat,
			Detail: fmt.Sprintf("there are %d streams of this caller already, and more are not allowed", maxStreams),
		}
	}
	if s.open == nil {
		s.open = map[streamer]int{}
	}
	s.open[who]++
	return func() { s.leave(who) }, nil
}

func (s *streams) leave(who streamer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[who]--; s.open[who] == 0 {
		delete(s.open, who)
	}
}
