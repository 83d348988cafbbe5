package importer

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	realmCollection  = "/api/realm"
	secretCollection = "/api/secret"
)

// realms imports the token cache service's realms.
func (r *run) realms(ctx context.Context) error {
	t := r.tables.realm
	if t == nil {
		return nil
	}
	tally := &Tally{kind: "realms"}
	r.report.Realms = tally
	sel := selection{table: t, columns: t.only("id", "config", "logic_code", "comment")}
	return r.each(ctx, sel, rowText("id"), func(ctx context.Context, line row) error {
		s := Subject{Kind: "realm", ID: line.text("id")}
		what, err := r.realm(ctx, s, line)
		if err == nil {
			r.known.Store(s.ID, true)
		}
		return r.ledger.enter(tally, s, what, 0, err)
	})
}

func (r *run) realm(ctx context.Context, s Subject, line row) (outcome, error) {
	if err := realm.ValidateID("id", s.ID); err != nil {
		return failed, err
	}
	if err := line.check("config"); err != nil {
		return failed, err
	}
	d := document{"id": s.ID}
	config, ok := line.values["config"]
	if ok {
		if !json.Valid([]byte(config.Reveal())) {
			return failed, realm.Fieldf("config", "is not JSON")
		}
		d["config"] = json.RawMessage(config.Reveal())
	}
	for _, name := range []string{"logic_code", "comment"} {
		if text := line.text(name); text != "" {
			d[name] = text
		}
	}
	wanted, err := readRealm(d)
	if r.DryRun && err != nil { // else the API says so itself
		return failed, err
	}
	it := item{
		subject: s, path: realmPath(s.ID), collection: realmCollection, create: d,
		differs: func(shown []byte) bool { return err != nil || !wanted.isShown(shown) },
	}
	if r.Overwrite {
		it.update = d
	}
	_, what, err := r.settle(ctx, it)
	return what, err
}

// realmShown is what a realm says, in a form that can be compared.
type realmShown struct {
	Config    realm.Config `json:"config"`
	LogicCode string       `json:"logic_code"`
	Comment   string       `json:"comment"`
}

// readRealm reads and checks a realm as the API does, as far as that goes
// without compiling its recipes.
func readRealm(d document) (realmShown, error) {
	var shown realmShown
	if raw, ok := d["config"].(json.RawMessage); ok {
		if err := realm.Decode(raw, "config", &shown.Config); err != nil {
			return shown, err
		}
	}
	shown.LogicCode, _ = d["logic_code"].(string)
	shown.Comment, _ = d["comment"].(string)
	whole := realm.Realm{ID: d["id"].(string), Config: shown.Config, LogicCode: shown.LogicCode, Comment: shown.Comment}
	return shown, whole.Validate()
}

// isShown compares with what the API shows.
func (want realmShown) isShown(body []byte) bool {
	var got realmShown
	if json.Unmarshal(body, &got) != nil {
		return false
	}
	a, err := json.Marshal(want)
	b, err2 := json.Marshal(got)
	return err == nil && err2 == nil && string(a) == string(b)
}

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
		return r.ledger.enter(tally, s, what, tokens, err)
	})
}

// spelled is the realm of a secret as the table of realms spells it.
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

func rowText(name string) func(row) string { return func(r row) string { return r.text(name) } }

func realmPath(id string) string { return realmCollection + "/" + url.PathEscape(id) }

func secretPath(s Subject) string {
	return secretCollection + "/" + url.PathEscape(s.Realm) + "/" + url.PathEscape(s.ID)
}
