package presets_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func apply(t *testing.T, c realm.Config) realm.Config {
	t.Helper()
	merged, err := presets.Apply(c)
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

func encode(t *testing.T, c realm.Config) string {
	t.Helper()
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func TestEveryPresetIsAWholeRealm(t *testing.T) {
	names := presets.Names()
	if !slices.IsSorted(names) || len(names) < 4 {
		t.Errorf("the names are %v", names)
	}
	for _, name := range names {
		merged := apply(t, realm.Config{Preset: name})
		if merged.Preset != name {
			t.Errorf("%s: the name is lost", name)
		}
		merged.Preset = "" // which would excuse whatever is missing
		r := realm.Realm{ID: name, Config: merged}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p, err := grant.Compile(r, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if why := p.Inactive(); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestUnknownPreset(t *testing.T) {
	for _, name := range []string{"nope", "../presets", "../testdata/jd", "./jd", "x/../jd", "JD", "jd.json", "."} {
		_, err := presets.Apply(realm.Config{Preset: name})
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != "config.preset" || !strings.Contains(field.Reason, "tokens presets") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutAPresetNothingChanges(t *testing.T) {
	c := realm.Config{API: "https://api.example.com", KeepWarm: realm.On}
	if got := apply(t, c); !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v", got)
	}
}

// TestOffOverAPreset: what a preset switches on can be switched off; silence leaves it.
func TestOffOverAPreset(t *testing.T) {
	for said, want := range map[string]bool{`{"preset": "jd"}`: true, `{"preset": "jd", "keep_warm": null}`: true, `{"preset": "jd", "keep_warm": true}`: true, `{"preset": "jd", "keep_warm": false}`: false} {
		var c realm.Config
		if err := realm.Decode([]byte(said), "config", &c); err != nil {
			t.Fatal(err)
		}
		if got := apply(t, c); got.KeepWarm.IsOn() != want {
			t.Errorf("%s: it is on: %v", said, got.KeepWarm.IsOn())
		}
	}
}

func TestWhatARealmSaysWins(t *testing.T) {
	plain := apply(t, realm.Config{Preset: "jd_vop"})
	exchange := realm.Recipe{URL: "https://proxy.example/token"}
	got := apply(t, realm.Config{
		Preset: "jd_vop", API: "https://vop.example", Hosts: []string{"vop.example"}, Exchange: &exchange,
		Recipe:   realm.Recipe{ExpiresInUnit: realm.UnitMilliseconds, Success: []realm.Rule{}},
		Shared:   map[string]realm.Hidden{"app_key": "K"},
		Limits:   realm.Limits{Concurrency: 2},
		Lifetime: realm.Lifetime{Duration: realm.Duration(time.Hour)},
	})
	want := plain
	want.API, want.Hosts, want.Exchange = "https://vop.example", []string{"vop.example"}, &exchange
	want.ExpiresInUnit = realm.UnitMilliseconds
	want.Shared = map[string]realm.Hidden{"app_key": "K"}
	want.Limits = realm.Limits{Concurrency: 2}
	want.Lifetime.Duration = realm.Duration(time.Hour)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", encode(t, got), encode(t, want))
	}
}

// Nobody can change the catalogue, nor, by it, another realm.
func TestAppliedConfigsAreApart(t *testing.T) {
	first := apply(t, realm.Config{Preset: "jd_vop"})
	first.Authorize.Arguments[0].Value, first.Success[0].JSON = "changed", "changed"
	second := apply(t, realm.Config{Preset: "jd_vop"})
	if second.Authorize.Arguments[0].Value == "changed" || second.Success[0].JSON == "changed" {
		t.Error("a preset was changed")
	}
}
