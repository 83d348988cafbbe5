package broker

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// harm is what befalls the next transaction of a node.
type harm uint8

const (
	unharmed    harm = iota
	lostWrite        // nothing is written, and the node is told so
	unknownEnd       // it is written, and the node is told that it is not known
	crashBefore      // the process dies before the commit
	crashAfter       // the process dies after the commit
	hangs            // the database does not answer, until resumed
	stopped          // the process is stopped (SIGSTOP), until resumed
)

var harms = []harm{lostWrite, unknownEnd, crashBefore, crashAfter, hangs, stopped}

func (h harm) String() string {
	return [...]string{"unharmed", "lost write", "unknown end", "crash before", "crash after", "hang", "stop"}[h]
}

// modelNode is one process: a real pool over its handle of the store.
type modelNode struct {
	model *model
	index int
	name  string
	skew  time.Duration // of this machine's clock
	pool  *Pool
	view  *View
	store *memoryStore
	spool *tokenstore.Spool // nil where the store is on this machine

	// The rest is guarded by the model's lock.
	up        bool
	buried    bool
	conns     []net.Conn
	away      bool // the store cannot be used
	harm      harm
	harmSaves bool            // the harm waits for the outcome of a call, not for a claim
	resume    []chan struct{} // of the transactions that wait
	trouble   time.Time       // the last time that the store failed
	died      chan struct{}
	// noticed is the last change of each secret that the node cannot but know.
	noticed map[realm.Ref]int64
}

func (n *modelNode) now() time.Time { return time.Now().Add(n.skew) }

// boot starts a process.
func (m *model) boot(index int) *modelNode {
	m.booted++
	n := &modelNode{
		model: m, index: index, name: fmt.Sprintf("node%d.%d", index, m.booted), skew: m.plan.skews[index],
		up: true, died: make(chan struct{}), noticed: map[realm.Ref]int64{},
	}
	n.store = &memoryStore{db: m.db, fails: n.fails, around: n.around}
	var opts []Option
	if m.plan.remote {
		n.spool = tokenstore.NewSpool(filepath.Join(m.dir, fmt.Sprint("spool", index)), m.keys)
		opts = append(opts, WithSpool(n.spool))
	}
	n.pool = New(n.store, zap.NewNop(), n.now, opts...)
	n.pool.concluded = m.db.lapsing
	n.pool.node = n.name
	n.pool.random = func(d time.Duration) time.Duration { return d / 2 }
	var err error
	if n.view, err = n.pool.View(ViewConfig{Client: grant.NewClient(n.dial, n.now)}); err != nil {
		m.fail("the model", "%v", err)
	}
	n.view.Drive()
	_ = n.pool.Open(context.Background()) // or with the first call
	return n
}

// crash ends a process as a power cut does: nothing that it still does is seen
// by anybody. The caller holds the lock.
func (n *modelNode) crash() {
	if !n.up {
		return
	}
	n.up = false
	close(n.died)
	for _, conn := range n.conns {
		_ = conn.Close()
	}
	n.model.lostWith(n)
}

// bury gives back what a dead process held here.
func (m *model) bury() {
	for _, n := range m.nodes {
		m.mu.Lock()
		dead := !n.up && !n.buried
		n.buried = n.buried || dead
		m.mu.Unlock()
		if dead {
			_ = n.pool.Destruct()
		}
	}
}

// fails is asked by the handle of the store.
func (n *modelNode) fails() error {
	n.model.mu.Lock()
	defer n.model.mu.Unlock()
	if !n.up || n.away || n.model.broken != "" {
		n.trouble = time.Now()
		return tokenstore.ErrUnavailable
	}
	return nil
}

// around runs a transaction, with the harm that is due.
func (n *modelNode) around(ctx context.Context, ref realm.Ref, run func(context.Context) error) error {
	m := n.model
	m.db.mu.Lock()
	saves := m.db.attempts[ref].Node == n.name && m.db.attempts[ref].ID != (tokenstore.CallID{})
	m.db.mu.Unlock()
	m.mu.Lock()
	h := n.harm
	if h == unharmed || n.harmSaves != saves || !n.up {
		m.mu.Unlock()
		return run(ctx)
	}
	n.harm, n.trouble = unharmed, time.Now()
	m.lossy = true
	resume := make(chan struct{})
	if h == hangs || h == stopped {
		n.resume = append(n.resume, resume)
	}
	m.mu.Unlock()
	tokenstore.Queued(ctx) // as in a transaction that fails, or is overtaken, when it has its place
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		n.trouble = time.Now()
	}()
	switch h {
	case unharmed, lostWrite, crashBefore: // nothing is written
	case unknownEnd, crashAfter:
		_ = run(ctx)
	case hangs:
		select {
		case <-resume:
			return run(ctx)
		case <-n.died:
		case <-ctx.Done():
			return ctx.Err()
		}
	case stopped: // who is stopped does not see its deadline pass
		select {
		case <-resume:
			return run(context.WithoutCancel(ctx))
		case <-n.died:
		}
	}
	if h == crashBefore || h == crashAfter {
		m.mu.Lock()
		n.crash() //nolint:contextcheck // it takes nobody's time
		m.mu.Unlock()
	}
	return tokenstore.ErrUnavailable
}

// goOn lets the transactions that wait go on.
func (n *modelNode) goOn() {
	n.model.mu.Lock()
	defer n.model.mu.Unlock()
	for _, resume := range n.resume {
		close(resume)
	}
	n.resume = nil
}

// heal is Heal for a request of which nothing is known.
func (v *View) heal(ctx context.Context, ref realm.Ref, refused realm.Hidden) (*realm.Lease, error) {
	lease, _, err := v.Heal(ctx, ref, refused, realm.BlameUnknown)
	return lease, err
}
