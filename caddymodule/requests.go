package caddymodule

import (
	"errors"
	"net/http"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The results of proxied requests, as metrics show them.
const (
	resultOK      = "ok"      // the answer was a success, a redirect or a switch of protocols
	resultRefused = "refused" // it was a 4xx, of the API or of this proxy
	resultFailed  = "failed"  // it was a 5xx, or there was none
)

const (
	// maxClientLabels is how many clients have series of their own: a series
	// costs memory here and in whatever collects it.
	maxClientLabels = 1000
	// otherClients is the label of those that came later.
	otherClients = "other"
)

// resultOf is the result for the status of an answer; 0 for none.
func resultOf(status int) string {
	switch {
	case status >= http.StatusInternalServerError, status == 0:
		return resultFailed
	case status >= http.StatusBadRequest:
		return resultRefused
	}
	return resultOK
}

// clientLabels are the clients that have series, since the process began.
type clientLabels struct {
	mu    sync.RWMutex
	known map[string]bool
}

var labelled = &clientLabels{known: make(map[string]bool)}

// of is the label of a client, "" for a caller that is none.
func (l *clientLabels) of(c *access.Client) string {
	if c == nil {
		return ""
	}
	return l.name(c.ID())
}

// name is the id of a client, or what stands for those beyond the limit.
func (l *clientLabels) name(id string) string {
	l.mu.RLock()
	known, full := l.known[id], len(l.known) >= maxClientLabels
	l.mu.RUnlock()
	switch {
	case known:
		return id
	case full:
		return otherClients
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxClientLabels && !l.known[id] {
		return otherClients
	}
	l.known[id] = true
	return id
}

// countRequest counts a proxied request. The realm is "" where it is not known
// that there is one: a caller must not be able to make series.
func countRequest(c *access.Client, realmID, result string) {
	counters.requests.WithLabelValues(labelled.of(c), realmID, result).Inc()
}

// countRefusal counts a request that got no token.
func countRefusal(c *access.Client, ref realm.Ref, err error) {
	var known *realm.Error
	if !errors.As(err, &known) {
		countRequest(c, "", resultFailed)
		return
	}
	realmID := ""
	if tellsRealm(known.Code) {
		realmID = ref.Realm
	}
	countRequest(c, realmID, resultOf(known.Status))
}

// tellsRealm reports whether an error comes about only where the realm exists.
func tellsRealm(code realm.Code) bool {
	switch code { //nolint:exhaustive // all others may be of a realm that there is not
	case realm.CodeSecretNotFound, realm.CodeNotProxyable, realm.CodeTokenUnavailable, realm.CodeReauthRequired,
		realm.CodeBudgetSpent, realm.CodeNotActive:
		return true
	}
	return false
}

// ended counts a request that had its token.
func ended(job inject.Job, resp *http.Response, err error) {
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	sender, _ := job.Sender.(*passage)
	countRequest(sender.of(), job.Ref.Realm, resultOf(status))
}
