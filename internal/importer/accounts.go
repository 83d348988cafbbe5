package importer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var accountTokens = tokenColumns{
	access: "access_token", accessEnd: "access_token_expires_at",
	refresh: "refresh_token", refreshEnd: "refresh_token_expires_at",
}

// accounts imports the account service's accounts: an account is a secret of
// the realm that its type names.
func (r *run) accounts(ctx context.Context) error {
	t := r.tables.account
	if t == nil {
		return nil
	}
	if err := t.checkEnds(accountTokens); err != nil {
		return err
	}
	if err := r.accountRealms(ctx, t); err != nil {
		return err
	}
	tally := &Tally{kind: "accounts"}
	r.report.Accounts = tally
	sel := selection{table: t, columns: t.only("account_type", "account", "password",
		"access_token", "refresh_token", "access_token_expires_at", "refresh_token_expires_at")}
	return r.each(ctx, sel, rowText("account"), func(ctx context.Context, line row) error {
		s := Subject{Kind: "account", Realm: r.realmOf(line.text("account_type")), ID: line.text("account")}
		tokens, what, err := r.account(ctx, s, t, line)
		return r.ledger.record(tally, s, what, tokens, err)
	})
}

func (r *run) account(ctx context.Context, s Subject, t *table, line row) (tokens int, what outcome, err error) {
	if err := s.validate(); err != nil {
		return 0, failed, err
	}
	if err := line.check(); err != nil {
		return 0, failed, err
	}
	if err := r.noRealm[s.Realm]; err != nil {
		return 0, failed, err
	}
	// The key of the old table is its id: nothing kept an account from being
	// in it twice, and which one was meant cannot be told.
	if _, twice := r.seen.LoadOrStore(s, true); twice {
		return 0, failed, realm.Fieldf("account", "is in the table twice; the first row was taken")
	}
	alive, err := r.tokensOf(t, line, accountTokens)
	if err != nil {
		return 0, failed, err
	}
	fields := document{"username": s.ID}
	if password := line.hidden("password"); password != "" {
		fields["password"] = password
	}
	return r.credential(ctx, s, document{"realm": s.Realm, "key": s.ID, "fields": fields}, alive)
}

// count is the number of access tokens in a document.
func count(tokens document) int {
	if tokens[access] != nil {
		return 1
	}
	return 0
}

// realmOf is the realm of an account type. The old tables do not tell "JD"
// from "jd"; ours do.
func (r *run) realmOf(accountType string) string {
	accountType = strings.TrimSpace(accountType)
	for _, id := range slices.Sorted(maps.Keys(r.Presets)) {
		if strings.EqualFold(id, accountType) {
			return id
		}
	}
	return accountType
}

// accountRealms makes the realms of the account types, where there are none.
func (r *run) accountRealms(ctx context.Context, t *table) error {
	var types []string
	err := r.source.query(ctx, "list the account types", "SELECT DISTINCT account_type FROM "+quote(t.name)+" WHERE account_type IS NOT NULL",
		func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			types = append(types, r.realmOf(name))
			return err
		})
	if err != nil {
		return err
	}
	// Accounts of a type that is no id fail by themselves, and say so.
	types = slices.DeleteFunc(types, func(id string) bool { return realm.ValidateID("realm", id) != nil })
	slices.Sort(types)
	return r.makeRealms(ctx, slices.Compact(types))
}

func (r *run) makeRealms(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := r.accountRealm(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// accountRealm makes one realm; one that exists is left as it is.
func (r *run) accountRealm(ctx context.Context, id string) error {
	s, preset := Subject{Kind: "realm", ID: id}, r.Presets[id]
	shown, found, err := r.api.get(ctx, realmPath(id))
	if err != nil {
		return err
	}
	if !found && preset == "" {
		r.noRealm[id] = realm.Fieldf("account_type", "there is no realm %q: make it first, or say which preset it has with --preset %s=<preset>", id, id)
		return nil
	}
	what := unchanged
	if !found {
		what, err = created, r.post(ctx, realmCollection, document{"id": id, "config": document{"preset": preset}}, realmPath(id))
	}
	if err != nil {
		r.noRealm[id] = err
	} else {
		r.known.Store(id, true)
		r.noteShared(s, shown)
	}
	if r.report.Realms == nil {
		r.report.Realms = &Tally{kind: "realms"}
	}
	return r.ledger.record(r.report.Realms, s, what, 0, err)
}

// sharedFields are what all accounts of a type have in common, by the realm's
// preset. The account service kept them in a file, so that they are in no
// table.
var sharedFields = map[string][]string{
	"jd":      {"app_key", "app_secret", "redirect_uri"},
	"jd_bill": {"client_id", "client_secret"},
	"jd_vop":  {"app_key", "app_secret", "redirect_uri", "rsa_key"},
	"suning":  {"app_key", "app_secret", "itemcode", "redirect_uri"},
}

// noteShared says what a person has to fill in. Nothing is shown of a realm
// that was made just now. What one with recipes of its own needs is in them.
func (r *run) noteShared(s Subject, shown []byte) {
	var is struct {
		Config struct {
			Preset     string                     `json:"preset"`
			Shared     map[string]json.RawMessage `json:"shared"`
			DefaultKey string                     `json:"default_key"`
		} `json:"config"`
	}
	if json.Unmarshal(shown, &is) != nil {
		is.Config.Preset = r.Presets[s.ID]
	}
	missing := slices.DeleteFunc(slices.Clone(sharedFields[is.Config.Preset]), func(name string) bool { return is.Config.Shared[name] != nil })
	if len(missing) > 0 {
		r.ledger.note(s, "fill in config.shared, from the account service's configuration file: %s; "+
			"until then no access token can be imported or fetched", strings.Join(missing, ", "))
	}
	if is.Config.DefaultKey == "" {
		r.ledger.note(s, "set config.default_key to the account that is meant where a caller names no company")
	}
}
