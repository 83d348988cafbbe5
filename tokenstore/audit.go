package tokenstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Results of an act. A flush or an authorization is written as AuditOK before
// it is done; if it fails, a second entry says so.
const (
	AuditOK      = "ok"
	AuditRefused = "refused"
	AuditFailed  = "failed"
)

// Acts that the store itself writes or completes.
const (
	// ActCheckpoint: entries that were older than they are kept were deleted.
	ActCheckpoint = "audit.checkpoint"
	// createSuffix takes the place of updateSuffix in the act of a change
	// that found nothing to update.
	createSuffix, updateSuffix = ".create", ".update"
)

// ErrAudit: an entry could not be written, so that what it was to record was
// not done. The store may work otherwise.
var ErrAudit = errors.New("the audit entry could not be written")

// AuditEntry is one line of the audit: who did what to what, when, from where,
// with what result. Nothing in it is confidential.
type AuditEntry struct {
	// Node names the chain, and Seq is the number in it, from 1 on. Together
	// they identify the entry. The store sets both.
	Node string
	Seq  int64
	// Time is when it happened, to the microsecond. Where it is zero, the store
	// sets it.
	Time time.Time
	// ActorKind is "client", "user", "admin", "local" or "system".
	ActorKind, ActorID string
	// Address is where the actor's request came from.
	Address string
	Act     string
	// Realm and Key are what it was about; Target is the id of the client or
	// the company.
	Realm, Key, Target string
	Result             string
	Code, Detail       string
	// Count is how many equal events the entry stands for; 0 and 1 are one.
	Count int64
}

// ID identifies the entry among those of all nodes.
func (e AuditEntry) ID() string { return fmt.Sprintf("%s/%d", e.Node, e.Seq) }

// Created turns the act of an update into that of a creation.
func (e *AuditEntry) Created() {
	if what, ok := strings.CutSuffix(e.Act, updateSuffix); ok {
		e.Act = what + createSuffix
	}
}

// AuditTime is how the time of an entry is written: RFC 3339 with microseconds,
// in UTC. It has the same length always, so that it sorts as text.
const AuditTime = "2006-01-02T15:04:05.000000Z"

// auditText is the form in which an entry is stored, sealed into its chain and
// exported. Fields may be added at the end; what was stored keeps its bytes.
type auditText struct {
	Node    string     `json:"node"`
	Seq     int64      `json:"seq"`
	Time    string     `json:"time"`
	Actor   auditActor `json:"actor"`
	Address string     `json:"address,omitempty"`
	Act     string     `json:"act"`
	Realm   string     `json:"realm,omitempty"`
	Key     string     `json:"key,omitempty"`
	Target  string     `json:"target,omitempty"`
	Result  string     `json:"result"`
	Code    string     `json:"code,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Count   int64      `json:"count,omitempty"`
}

type auditActor struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
}

// MarshalJSON writes the entry's one form.
func (e AuditEntry) MarshalJSON() ([]byte, error) {
	t := auditText{
		Node: e.Node, Seq: e.Seq, Time: e.Time.UTC().Format(AuditTime), Actor: auditActor{e.ActorKind, e.ActorID}, Address: e.Address,
		Act: e.Act, Realm: e.Realm, Key: e.Key, Target: e.Target, Result: e.Result, Code: e.Code, Detail: e.Detail,
	}
	if e.Count > 1 {
		t.Count = e.Count
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *AuditEntry) UnmarshalJSON(text []byte) error {
	var t auditText
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	at, err := time.Parse(AuditTime, t.Time)
	if err != nil {
		return err
	}
	*e = AuditEntry{
		Node: t.Node, Seq: t.Seq, Time: at, ActorKind: t.Actor.Kind, ActorID: t.Actor.ID, Address: t.Address,
		Act: t.Act, Realm: t.Realm, Key: t.Key, Target: t.Target, Result: t.Result, Code: t.Code, Detail: t.Detail, Count: t.Count,
	}
	return nil
}

// The longest texts of an entry, in bytes. Some of them come from callers that
// were refused, who may send anything.
const (
	maxAuditWord   = 64
	maxAuditID     = 255
	maxAuditDetail = 1024
)

// Normalize cuts what is too long and replaces what is no UTF-8, so that the
// entry is read back as it is written.
func (e *AuditEntry) Normalize() {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	for _, word := range []*string{&e.ActorKind, &e.Act, &e.Result, &e.Code} {
		*word = shorten(*word, maxAuditWord)
	}
	for _, id := range []*string{&e.Node, &e.ActorID, &e.Address, &e.Realm, &e.Key, &e.Target} {
		*id = shorten(*id, maxAuditID)
	}
	e.Detail = shorten(e.Detail, maxAuditDetail)
	if e.Count == 1 {
		e.Count = 0
	}
}

// shorten cuts a text, never within a character.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// AuditFilter selects entries. What is zero selects all.
type AuditFilter struct {
	// From is included, To is not.
	From, To time.Time
	// Actor is the id of an actor, or its kind where that has no id.
	Actor, Realm, Key, Act, Result string
}

// AuditChain is what a verification says of one chain.
type AuditChain struct {
	// Node names the chain; it is empty for the list of the chains.
	Node string
	// First and Last are the numbers of the entries that were verified; both
	// are 0 where there are none.
	First, Last int64
	// Reason says what is wrong, at the entry Seq; empty where all is as it was
	// written.
	Seq    int64
	Reason string
}

// AuditStore keeps the audit: one chain of entries for each process that
// writes. Every entry is bound to the one before it by a keyed digest, and the
// end of each chain is sealed.
type AuditStore interface {
	// AppendAudit writes entries at the end of this node's chain, all or none,
	// durably, and sets their Node, Seq and Time. ErrAudit where it cannot.
	AppendAudit(ctx context.Context, entries ...*AuditEntry) error
	// Audit lists a page of the selected entries, newest first, and counts all
	// that are selected.
	Audit(ctx context.Context, filter AuditFilter, page Page) ([]AuditEntry, int, error)
	// WalkAudit calls each for the selected entries, oldest first, until it
	// returns an error, which is returned.
	WalkAudit(ctx context.Context, filter AuditFilter, each func(AuditEntry) error) error
	// VerifyAudit looks at every entry of every chain, and calls each with what
	// it found of a chain, up to the first break.
	VerifyAudit(ctx context.Context, each func(AuditChain)) error
	// PruneAudit deletes entries that are older than before, and leaves an
	// entry ActCheckpoint that says so. It deletes nothing that it cannot
	// verify. It returns how many it deleted.
	PruneAudit(ctx context.Context, before time.Time) (int, error)
}

type auditKey struct{}

// WithAudit returns a context of which every change of a realm, a secret, a
// company or a client writes a copy of the entry in its own transaction, so
// that neither is there without the other. The store adds what the change is
// about, unless the entry says so, and turns the act into a creation where
// there was nothing to update.
func WithAudit(ctx context.Context, entry AuditEntry) context.Context {
	return context.WithValue(ctx, auditKey{}, entry)
}

// AuditOf returns the entry of WithAudit.
func AuditOf(ctx context.Context) (entry AuditEntry, ok bool) {
	entry, ok = ctx.Value(auditKey{}).(AuditEntry)
	return entry, ok
}
