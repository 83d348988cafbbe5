package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// Sources are the fields of a realm of the configuration whose values come from
// elsewhere.
type Sources struct {
	// Secrets are those of the secrets, by key and name; Shared are those of the realm.
	Secrets map[string]map[string]*sources.Field
	Shared  map[string]*sources.Field
}

// SourceStatus tells where the value of a field comes from. No value is in it.
type SourceStatus struct {
	Field string `json:"field"`
	// Source is what the configuration says: "file /run/secrets/appsecret".
	Source string `json:"source"`
	// Error is why it gave no value the last time. Until is how long the value
	// before that is used; absent for no end, and where there is none.
	Error string     `json:"error,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// tell has changes of the values told, by the realm and the key that they are of.
func (s Sources) tell(id string, changed func(Change)) {
	for key, fields := range s.Secrets {
		for _, f := range fields {
			f.OnChange(func() { changed(Change{Ref: realm.Ref{Realm: id, Key: key}, Event: Sourced}) })
		}
	}
	for _, f := range s.Shared {
		f.OnChange(func() { changed(Change{Ref: realm.Ref{Realm: id}, Event: Sourced}) })
	}
}

// withNames are the fields with the names of those that come from elsewhere. They have
// the mask for a value: it is what is shown of them, and is never sent.
func withNames(fields map[string]realm.Hidden, from map[string]*sources.Field) map[string]realm.Hidden {
	if len(from) == 0 {
		return fields
	}
	all := make(map[string]realm.Hidden, len(fields)+len(from))
	maps.Copy(all, fields)
	for name := range from {
		all[name] = realm.Mask
	}
	return all
}

// fill gives a secret, and the shared fields that it is used with, the values of
// their sources as they are now. CodeTokenUnavailable names a field that has none.
func (r *Realm) fill(ctx context.Context, s realm.Secret) (realm.Secret, error) {
	var err error
	if s.Fields, err = filled(ctx, s.Fields, r.ownSources(s)); err == nil && len(r.sources.Shared) > 0 {
		s.Shared, err = filled(ctx, r.Config.Shared, r.sources.Shared)
	}
	return s, err
}

// filled are the fields with the values that sources give for some of them.
func filled(ctx context.Context, fields map[string]realm.Hidden, from map[string]*sources.Field) (map[string]realm.Hidden, error) {
	if len(from) == 0 {
		return fields, nil
	}
	all := maps.Clone(fields)
	for _, name := range slices.Sorted(maps.Keys(from)) {
		value, err := from[name].Value(ctx)
		if err != nil {
			return nil, noValue(name, err)
		}
		all[name] = value
	}
	return all, nil
}

// ErrNoValue is in the errors of secrets with a field whose source gives no value.
var ErrNoValue = errors.New("a field has no value")

// noValue is the error of a field whose source gives none.
func noValue(field string, err error) *realm.Error {
	return &realm.Error{
		Code: realm.CodeTokenUnavailable, Status: http.StatusServiceUnavailable,
		Detail: fmt.Sprintf("the field %s has no value: %v", field, err), Err: fmt.Errorf("%w: %w", ErrNoValue, err),
	}
}

// fillKnown is fill with what is known without asking; false if that is not all.
func (r *Realm) fillKnown(s realm.Secret) (_ realm.Secret, whole bool) {
	var isWhole bool
	s.Fields, whole = known(s.Fields, r.ownSources(s))
	if len(r.sources.Shared) > 0 {
		s.Shared, isWhole = known(r.Config.Shared, r.sources.Shared)
		whole = whole && isWhole
	}
	return s, whole
}

// Times are when the first of the values that sources give for a secret is asked for
// again, and when the first of them ends; zero for never.
func (r *Realm) Times(s realm.Secret) (askAt, endsAt time.Time) {
	for _, from := range []map[string]*sources.Field{r.ownSources(s), r.sources.Shared} {
		for _, f := range from {
			ask, end := f.Times()
			askAt, endsAt = earlier(askAt, ask), earlier(endsAt, end)
		}
	}
	return askAt, endsAt
}

// earlier is the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func known(fields map[string]realm.Hidden, from map[string]*sources.Field) (_ map[string]realm.Hidden, whole bool) {
	if len(from) == 0 {
		return fields, true
	}
	all, whole := maps.Clone(fields), true
	for name, f := range from {
		value, ok := f.Known()
		all[name], whole = value, whole && ok
	}
	return all, whole
}

// ownSources are those of the fields of a secret of the configuration. One of the
// store has none, whatever its key.
func (r *Realm) ownSources(s realm.Secret) map[string]*sources.Field {
	if !s.Defined {
		return nil
	}
	return r.sources.Secrets[s.Key]
}

// Doubt notes that the provider refused what a secret holds: the sources of its
// fields are asked again soon.
func (r *Realm) Doubt(ref realm.Ref) { r.eachSource(ref, (*sources.Field).Doubt) }

// Trust notes that the provider took what a secret holds.
func (r *Realm) Trust(ref realm.Ref) { r.eachSource(ref, (*sources.Field).Trust) }

func (r *Realm) eachSource(ref realm.Ref, do func(*sources.Field)) {
	for _, from := range []map[string]*sources.Field{r.sources.Secrets[ref.Key], r.sources.Shared} {
		for _, f := range from {
			do(f)
		}
	}
}

// SourcesOf tells where the fields of a secret of the configuration come from, and
// those that its realm shares, as far as they do not stand in it. Nothing is asked.
func (c *Catalog) SourcesOf(ref realm.Ref) []SourceStatus {
	r, ok := c.defined[ref.Realm]
	if !ok {
		return nil
	}
	var list []SourceStatus
	for _, from := range []map[string]*sources.Field{r.sources.Secrets[ref.Key], r.sources.Shared} {
		for _, name := range slices.Sorted(maps.Keys(from)) {
			list = append(list, statusOf(name, from[name].Status()))
		}
	}
	return list
}

func statusOf(field string, s sources.Status) SourceStatus {
	status := SourceStatus{Field: field, Source: s.Source}
	if s.Err != nil {
		status.Error = s.Err.Error()
		if s.IsKnown && !s.Until.IsZero() {
			status.Until = &s.Until
		}
	}
	return status
}
