package importer

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const realmCollection = "/api/realm"

func realmPath(id string) string { return realmCollection + "/" + url.PathEscape(id) }

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
		return r.ledger.record(tally, s, what, 0, err)
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
	_, what, err := r.importItem(ctx, it)
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
