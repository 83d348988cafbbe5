package importer

import (
	"context"
	"net/url"
	"regexp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const secretCollection = "/api/secret"

var secretTokens = tokenColumns{access: "token", accessEnd: "expires_at"}

// slot matches the columns that hold a secret's values.
var slot = regexp.MustCompile(`^key_[1-9][0-9]{0,3}$`)

// secrets imports the token cache service's secrets, with their tokens.
func (r *run) secrets(ctx context.Context) error {
	t := r.tables.secret
	if t == nil {
		return nil
	}
	if err := t.checkEnds(secretTokens); err != nil {
		return err
	}
	tally := &Tally{kind: "secrets"}
	r.report.Secrets = tally
	var slots []string
	for name := range t.columns {
		if slot.MatchString(name) {
			slots = append(slots, name)
		}
	}
	sel := selection{table: t, columns: append(t.only("key", "realm", "token", "expires_at"), slots...)}
	if realms := r.tables.realm; realms != nil {
		cond, exact := realms.columns["id"].same("r.`id`", "t.`realm`")
		sel.found = []lookup{{as: spelled, sql: "SELECT r.`id` FROM " + quote(realms.name) + " r WHERE " + cond + " ORDER BY " + exact + " LIMIT 1"}}
	}
	return r.each(ctx, sel, rowText("key"), func(ctx context.Context, line row) error {
		s := Subject{Kind: "secret", Realm: line.text("realm"), ID: line.text("key")}
		if id := line.text(spelled); id != "" && id != s.Realm {
			r.ledger.note(s, "was imported below the realm's own spelling %q; here, ids that differ in a letter's case are not the same", id)
			s.Realm = id
		}
		tokens, what, err := r.secret(ctx, s, t, line, slots)
		return r.ledger.record(tally, s, what, tokens, err)
	})
}

// spelledRealm is the realm of a secret as the table of realms spells it.
const spelled = "\x00realm"

func (r *run) secret(ctx context.Context, s Subject, t *table, line row, slots []string) (tokens int, what outcome, err error) {
	if err := s.validate(); err != nil {
		return 0, failed, err
	}
	if err := line.check(); err != nil {
		return 0, failed, err
	}
	d := document{"realm": s.Realm, "key": s.ID}
	for _, name := range slots {
		if value := line.hidden(name); value != "" {
			d[name] = value
		}
	}
	alive, err := r.tokensOf(t, line, secretTokens)
	if err != nil {
		return 0, failed, err
	}
	return r.credential(ctx, s, d, alive)
}

func (s Subject) validate() error {
	if err := realm.ValidateID("realm", s.Realm); err != nil {
		return err
	}
	return realm.ValidateID("key", s.ID)
}

func secretPath(s Subject) string {
	return secretCollection + "/" + url.PathEscape(s.Realm) + "/" + url.PathEscape(s.ID)
}
