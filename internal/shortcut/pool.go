package shortcut

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// sweepInterval is how often the idle connections are looked at. Nobody reads from
// one meanwhile.
const sweepInterval = 5 * time.Second

// destination is what a connection can be used for again.
type destination struct {
	secure bool
	host   string // as in the URL
}

// address is what is dialled, as http.Transport has it.
func (d destination) address() string {
	u := url.URL{Host: d.host}
	port := u.Port()
	switch {
	case port != "":
	case d.secure:
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// pool has the idle connections of a Transport, within the limits of its
// http.Transport. The one that was used last is taken first.
type pool struct {
	timeout time.Duration // 0 for none
	perHost int
	most    int // of all hosts; 0 for any number

	mu       sync.Mutex
	idle     map[destination][]*conn // used last at the end
	list     conn                    // the ring of all: newer is the oldest, older the newest
	count    int
	isClosed bool
	sweeper  *time.Timer // runs while there are idle connections
}

func (p *pool) init(rt *http.Transport) {
	p.timeout, p.perHost, p.most = rt.IdleConnTimeout, rt.MaxIdleConnsPerHost, rt.MaxIdleConns
	if p.perHost == 0 {
		p.perHost = http.DefaultMaxIdleConnsPerHost
	}
	p.idle = make(map[destination][]*conn)
	p.list.older, p.list.newer = &p.list, &p.list
}

// take returns an idle connection; nil for none. It may have ended meanwhile.
func (p *pool) take(to destination) *conn {
	now := time.Now()
	p.mu.Lock()
	dropped := p.expireLocked(to, now)
	c := p.newestLocked(to)
	if c != nil {
		p.unlinkLocked(c)
	}
	p.mu.Unlock()
	closeAll(dropped)
	return c
}

// newestLocked is the connection to take; nil for none.
func (p *pool) newestLocked(to destination) *conn {
	for _, c := range slices.Backward(p.idle[to]) {
		if !c.isPolled {
			return c
		}
	}
	return nil
}

// put makes a connection idle, or closes it where there are enough.
func (p *pool) put(c *conn) {
	now := time.Now()
	p.mu.Lock()
	dropped := p.expireLocked(c.to, now)
	if p.isClosed || len(p.idle[c.to]) >= p.perHost {
		dropped = append(dropped, c)
	} else {
		c.reused, c.idleSince = true, now
		p.linkLocked(c)
		if p.most > 0 && p.count > p.most {
			dropped = p.dropLocked(p.list.newer, dropped)
		}
		if p.sweeper == nil {
			p.sweeper = time.AfterFunc(sweepInterval, p.sweep)
		}
	}
	p.mu.Unlock()
	closeAll(dropped)
}

func (p *pool) linkLocked(c *conn) {
	p.idle[c.to] = append(p.idle[c.to], c)
	c.older, c.newer = p.list.older, &p.list
	c.older.newer, c.newer.older = c, c
	p.count++
}

// unlinkLocked leaves an empty list behind, for the next connection.
func (p *pool) unlinkLocked(c *conn) {
	c.older.newer, c.newer.older = c.newer, c.older
	c.older, c.newer = nil, nil
	p.count--
	conns := p.idle[c.to]
	n := len(conns) - 1 // mostly it is the newest
	for conns[n] != c {
		n--
	}
	p.idle[c.to] = slices.Delete(conns, n, n+1)
}

// dropLocked takes a connection out, and adds it to those that the caller closes when
// he has no lock. One that is polled is closed by who does that.
func (p *pool) dropLocked(c *conn, dropped []*conn) []*conn {
	p.unlinkLocked(c)
	if c.isPolled {
		return dropped
	}
	return append(dropped, c)
}

// expireLocked drops what was idle for too long, of one destination.
func (p *pool) expireLocked(to destination, now time.Time) (dropped []*conn) {
	for conns := p.idle[to]; len(conns) > 0 && p.hasExpired(conns[0], now); conns = p.idle[to] {
		dropped = p.dropLocked(conns[0], dropped)
	}
	return dropped
}

func (p *pool) hasExpired(c *conn, now time.Time) bool {
	return p.timeout > 0 && now.Sub(c.idleSince) >= p.timeout
}

// closeAll closes connections. Nobody waits for it: TLS says goodbye, which takes
// seconds where the other side does not read.
func closeAll(conns []*conn) {
	if len(conns) == 0 {
		return
	}
	go func() {
		for _, c := range conns {
			c.close()
		}
	}()
}

// sweep closes the idle connections that were not used for too long, that the other
// side has closed, and on which something came that nobody asked for.
func (p *pool) sweep() {
	p.mu.Lock()
	idle := make([]*conn, 0, p.count)
	for c := p.list.newer; c != &p.list; c = c.newer {
		idle = append(idle, c)
	}
	p.mu.Unlock()
	var unfit []*conn
	for _, c := range idle {
		if !p.poll(c) {
			unfit = append(unfit, c)
		}
	}
	closeAll(unfit)

	p.mu.Lock()
	defer p.mu.Unlock()
	for to, conns := range p.idle {
		if len(conns) == 0 {
			delete(p.idle, to)
		}
	}
	p.sweeper = nil
	if p.count > 0 {
		p.sweeper = time.AfterFunc(sweepInterval, p.sweep)
	}
}

// poll looks at a connection that was idle. It is fit if somebody may still use it, or
// does; else it is not idle any more, and the caller closes it. The lock is not held
// while it is polled.
func (p *pool) poll(c *conn) (isFit bool) {
	now := time.Now()
	p.mu.Lock()
	isIdle := c.older != nil
	hasExpired := isIdle && p.hasExpired(c, now)
	if hasExpired {
		p.unlinkLocked(c)
	}
	c.isPolled = isIdle && !hasExpired
	p.mu.Unlock()
	if hasExpired || !isIdle {
		return !hasExpired
	}
	isQuiet := c.net.IsQuiet()
	p.mu.Lock()
	defer p.mu.Unlock()
	c.isPolled = false
	if c.older == nil { // dropped meanwhile
		return false
	}
	if !isQuiet {
		p.unlinkLocked(c)
	}
	return isQuiet
}

// close closes the idle connections, and those that become idle later.
func (p *pool) close() {
	p.mu.Lock()
	p.isClosed = true
	var dropped []*conn
	for p.list.newer != &p.list {
		dropped = p.dropLocked(p.list.newer, dropped)
	}
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mu.Unlock()
	closeAll(dropped)
}
