package catalog

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// elsewhere is a source whose answer a test sets.
type elsewhere struct {
	text  realm.Hidden
	err   error
	reads int
}

func (e *elsewhere) String() string { return "elsewhere" }

func (e *elsewhere) Read(context.Context) (sources.Value, error) {
	e.reads++
	return sources.Value{Text: e.text, Fresh: time.Hour, Lease: time.Hour}, e.err
}

// A token that was imported before a shared field was asked for had the fingerprint of a
// secret without it, so that it was never used. Saving anything else asks nothing.
func TestImportAsksForSharedFields(t *testing.T) {
	e := &elsewhere{err: errors.New("it cannot be reached")}
	field := sources.NewField(e, sources.NewMemory(), zap.NewNop(), nil)
	defer field.Close()
	config := wechat()
	f := newFixture(t, Definition{
		Realm: realm.Realm{ID: "wx", Config: config}, Sources: Sources{Shared: map[string]*sources.Field{"key_2": field}},
	})
	f.saveSecret(t, wx, "key_1", "app")
	if e.reads != 0 {
		t.Errorf("asked %d times without a token", e.reads)
	}
	access, end := realm.Hidden("T"), f.now.Add(time.Hour)
	u := SecretUpdate{Ref: wx, Fields: values("key_1", "app"), Token: &access, ExpiresAt: &end}
	if _, err := f.SaveSecret(t.Context(), u); !errors.Is(err, ErrNoValue) {
		t.Errorf("a token for a field without a value: %v", err)
	}
	later := sources.NewField(&elsewhere{text: "right"}, sources.NewMemory(), zap.NewNop(), nil)
	defer later.Close()
	f.defined["wx"].sources.Shared["key_2"] = later
	if _, err := f.SaveSecret(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	secret, err := f.secret(t, wx)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := f.defined["wx"].Bind(secret)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := f.store.Token(t.Context(), wx)
	if err != nil || token.Fingerprint != bound.Fingerprint() {
		t.Errorf("it belongs to another secret, or %v", err)
	}
}
