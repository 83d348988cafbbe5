package caddymodule

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// maxFailures is how many wrong credentials an address may send before it
	// has to wait: 1 s, and twice as long with each further one.
	maxFailures = 10
	maxWait     = time.Minute
	// failuresLife is how long an address has to be quiet to begin anew.
	failuresLife = 10 * time.Minute
	// maxAddresses bounds the memory of a flood from many addresses.
	maxAddresses = 10_000
	// linePause is the least time between two lines of the log.
	linePause = time.Minute
)

// failures counts the wrong credentials that addresses send. Nobody guesses 256
// random bits, but an operator may have chosen less, and whoever tries should
// neither cost much nor go unnoticed. Admin tokens and API keys are counted apart:
// an app with an old key must not keep the operator of its machine out.
type failures struct {
	log  *zap.Logger
	line string // of the log
	now  func() time.Time

	mu        sync.Mutex
	byAddress map[netip.Addr]attempts
	lastLine  time.Time
	unlogged  int // failures since the last line
}

// attempts are those of one address.
type attempts struct {
	failed int
	last   time.Time
	until  time.Time // when the next one is looked at
}

// newFailures counts the failures of a kind of credential, which what names.
func newFailures(what string, log *zap.Logger, now func() time.Time) *failures {
	return &failures{log: log, line: "a wrong " + what + " was sent", now: now, byAddress: make(map[netip.Addr]attempts)}
}

// wait is how long an address has to wait before its next credential is looked
// at.
func (f *failures) wait(from netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waitLocked(networkOf(from))
}

func (f *failures) waitLocked(from netip.Addr) time.Duration {
	return max(0, f.byAddress[from].until.Sub(f.now()))
}

// record notes whether the credential of an address was right. It returns how
// long the address has to wait if that was settled meanwhile by others that it
// sent at the same time: then this credential does not count.
func (f *failures) record(from netip.Addr, right bool) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	from = networkOf(from)
	if wait := f.waitLocked(from); wait > 0 {
		return wait
	}
	if right {
		delete(f.byAddress, from)
		return 0
	}
	now := f.now()
	a, known := f.byAddress[from]
	if now.Sub(a.last) >= failuresLife {
		a.failed = 0
	}
	if !known && len(f.byAddress) >= maxAddresses {
		f.dropLocked()
	}
	a.failed, a.last = a.failed+1, now
	if over := a.failed - maxFailures; over >= 0 {
		a.until = now.Add(min(time.Second<<min(over, 10), maxWait))
	}
	f.byAddress[from] = a
	f.unlogged++
	if now.Sub(f.lastLine) >= linePause {
		f.log.Warn(f.line, zap.Stringer("address", from), zap.Int("failures", f.unlogged))
		f.lastLine, f.unlogged = now, 0
	}
	return 0
}

// dropLocked makes room: the one of some addresses that was quiet for longest is
// forgotten. Looking at all of them would make a flood cost more.
func (f *failures) dropLocked() {
	const looks = 16
	var oldest netip.Addr
	n := 0
	for addr, a := range f.byAddress {
		if n == 0 || a.last.Before(f.byAddress[oldest].last) {
			oldest = addr
		}
		if n++; n == looks {
			break
		}
	}
	delete(f.byAddress, oldest)
}

// networkOf is what counts as one address: of IPv6 the /64, which its user has
// as a whole (RFC 6177).
func networkOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr, 64).Masked().Addr()
}

// addressOf is the address of a caller: behind a proxy that Caddy trusts, the
// one that the proxy names. Peers on a unix socket have none, and count as one.
func addressOf(r *http.Request) netip.Addr {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		if addr, err := netip.ParseAddr(ip); err == nil {
			return addr
		}
	}
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero address otherwise
	return peer.Addr()
}

// errTooManyFailures is the answer to a credential that is not looked at.
func errTooManyFailures(wait time.Duration) *realm.Error {
	return &realm.Error{
		Code: realm.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: wait,
		Detail: "too many wrong admin tokens or API keys came from this address",
	}
}
