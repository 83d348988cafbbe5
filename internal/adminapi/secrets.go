package adminapi

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// slot matches the names of the fields that stand at the top level of a
// secret, as the earlier service's key_1 to key_5 did.
var slot = regexp.MustCompile(`^key_[1-9][0-9]{0,3}$`)

// secretDocument is a secret as it is shown: every value is the mask.
type secretDocument struct {
	catalog.SecretInfo
	// also names slots that the caller sent masked and that are not stored.
	// They are echoed, as the earlier service's clients expect.
	also []string
	// status is that of its token; nil for none.
	status *broker.TokenStatus
}

func showSecret(info catalog.SecretInfo) secretDocument { return secretDocument{SecretInfo: info} }

// MarshalJSON puts the slots beside realm and key, and all other fields below
// "fields".
func (d secretDocument) MarshalJSON() ([]byte, error) {
	doc := map[string]any{"realm": d.Realm, "key": d.Key}
	named := map[string]realm.Hidden{}
	for name, value := range d.Fields {
		if slot.MatchString(name) {
			doc[name] = value
		} else {
			named[name] = value
		}
	}
	for _, name := range d.also {
		doc[name] = realm.Mask
	}
	if len(named) > 0 {
		doc["fields"] = named
	}
	for name, at := range map[string]time.Time{"created_at": d.CreatedAt, "updated_at": d.UpdatedAt} {
		if !at.IsZero() {
			doc[name] = at.UTC()
		}
	}
	if d.InjectOnly {
		doc["inject_only"] = true
	}
	if d.ReadOnly {
		doc["read_only"] = true
	}
	if d.NeedsValues {
		doc["needs_values"] = []string{d.Key}
	}
	if len(d.Warnings) > 0 {
		doc["warnings"] = d.Warnings
	}
	if len(d.Sources) > 0 {
		doc["sources"] = d.Sources
	}
	if len(d.Pushed) > 0 {
		pushed := make(map[string]pushedDocument, len(d.Pushed))
		for field, value := range d.Pushed {
			pushed[field] = showPushed(value)
		}
		doc["pushed"] = pushed
	}
	if d.Damaged {
		doc["damaged"] = true
	}
	if d.status != nil {
		doc["status"] = d.status
	}
	return json.Marshal(doc)
}

// listSecrets lists those that the caller may see. The store filters them, so that
// nobody opens ten thousand for one page.
func (a *api) listSecrets(ctx context.Context, r *request) (any, error) {
	page, err := r.query.page()
	if err != nil {
		return nil, err
	}
	realmID, err := r.query.text("realm")
	if err != nil {
		return nil, err
	}
	keyword, err := r.query.text("keyword")
	if err != nil {
		return nil, err
	}
	withStatus, err := r.query.flag("status", false)
	if err != nil {
		return nil, err
	}
	f := tokenstore.SecretFilter{Realm: realmID}
	if keyword = strings.ToLower(keyword); keyword != "" || !r.caller.hasAll() {
		f.Keep = func(ref realm.Ref) bool {
			return (keyword == "" || strings.Contains(strings.ToLower(ref.Realm), keyword) || strings.Contains(strings.ToLower(ref.Key), keyword)) &&
				r.caller.may(access.AdminRead, ref)
		}
	}
	secrets, total, err := a.catalog.Secrets(ctx, page, f)
	return listOf(secrets, total, func(info catalog.SecretInfo) secretDocument {
		doc := showSecret(info)
		if withStatus {
			doc.status = a.statusOf(r.caller, info.Ref)
		}
		return doc
	}), err
}

// statusOf is the status of a token as a list shows it, nil where memory knows
// nothing of it.
func (a *api) statusOf(c Caller, ref realm.Ref) *broker.TokenStatus {
	t, ok := a.broker.ListedStatusOf(ref)
	if !ok {
		return nil
	}
	t.Parents = c.visibleParents(t.Parents)
	return &t
}

func (a *api) getSecret(ctx context.Context, r *request) (any, error) {
	info, err := a.catalog.SecretInfo(ctx, r.secretRef())
	return showSecret(info), err
}

func (a *api) saveSecret(ctx context.Context, r *request) (any, error) {
	u, err := readSecretUpdate(r.body)
	if err != nil {
		return nil, err
	}
	if err := r.require(access.Admin, u.Ref); err != nil {
		return nil, err
	}
	u.MayUse = func(parent realm.Ref) error { return requireRead(r.caller, []realm.Ref{parent}) }
	info, err := a.catalog.SaveSecret(ctx, u.SecretUpdate)
	if err == nil && (len(info.Warnings) > 0 || info.NeedsValues) {
		a.broker.Examine(ctx, u.Ref)
	}
	return secretDocument{SecretInfo: info, also: u.masked}, err
}

func (a *api) deleteSecret(ctx context.Context, r *request) (any, error) {
	return done{success}, a.catalog.DeleteSecret(ctx, r.secretRef())
}

func (r *request) secretRef() realm.Ref { return realm.Ref{Realm: r.ids[0], Key: r.ids[1]} }
