package adminapi

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ActivityStep is how long one bucket of the activity is.
const ActivityStep = 5 * time.Minute

// ActivityHours is how far back the activity goes.
const ActivityHours = 24

// Activity is what was counted in one step that began At.
type Activity struct {
	At time.Time `json:"at"`
	// Calls are proxied requests, Errors those of them that failed (5xx, or no
	// answer).
	Calls   uint64 `json:"calls"`
	Fetches uint64 `json:"fetches"`
	Heals   uint64 `json:"heals"`
	Errors  uint64 `json:"errors"`
}

// Activities remembers what this node has counted.
type Activities interface {
	// Last returns the last steps, the oldest first and the current one last, over
	// the realms that may lets through.
	Last(steps int, may func(realmID string) bool) []Activity
}

// activityDocument is the answer of GET /api/activity.
type activityDocument struct {
	Data    activityData `json:"data"`
	Success string       `json:"success"`
}

type activityData struct {
	Step     int            `json:"step"` // seconds
	List     []Activity     `json:"list"`
	States   map[string]int `json:"states"`
	Renewals []dueRenewals  `json:"renewals"`
	Total    int            `json:"total"`
}

// dueRenewals are how many tokens are to be renewed in the step from At on.
type dueRenewals struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"`
}

// activity answers GET /api/activity. What is counted has no keys, so that it is
// for who may see a realm as a whole; the states and renewals are those of the
// tokens that the caller may see.
func (a *api) activity(_ context.Context, r *request) (any, error) {
	hours, err := r.query.number("hours", 6, ActivityHours)
	if err != nil {
		return nil, err
	}
	only, err := r.query.text("realm")
	if err != nil {
		return nil, err
	}
	steps := hours * int(time.Hour/ActivityStep)
	doc := activityDocument{Data: activityData{Step: int(ActivityStep.Seconds()), List: []Activity{}}, Success: success}
	if a.activities != nil {
		doc.Data.List = a.activities.Last(steps, func(id string) bool {
			return (only == "" || id == only) && r.caller.may(access.AdminRead, realm.Ref{Realm: id})
		})
	}
	doc.Data.Total = len(doc.Data.List)
	from := a.now().UTC().Truncate(ActivityStep) // the step that is under way
	states, renewals := a.broker.Outlook(from, steps, ActivityStep, func(ref realm.Ref) bool {
		return (only == "" || ref.Realm == only) && r.caller.may(access.AdminRead, ref)
	})
	doc.Data.States = states
	for i, n := range renewals {
		doc.Data.Renewals = append(doc.Data.Renewals, dueRenewals{from.Add(time.Duration(i) * ActivityStep), n})
	}
	return doc, nil
}
