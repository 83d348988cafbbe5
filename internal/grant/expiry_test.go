package grant

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestExpiry has a line for every form of an expiry that has been seen. The
// request is sent at noon.
func TestExpiry(t *testing.T) {
	const never = time.Duration(-1)
	epoch := strconv.FormatInt(noon.Add(time.Hour).Unix(), 10)
	for _, c := range []struct {
		value, unit, lifetime string
		life                  time.Duration // never for a token without end
		once                  bool
		warning               string // a part of it
	}{
		{value: `7200`, life: 2 * time.Hour},
		{value: `"7200"`, life: 2 * time.Hour},
		{value: `" 7200 "`, life: 2 * time.Hour},
		{value: `7200.0`, life: 2 * time.Hour},
		{value: `7200.5`, life: 2*time.Hour + 500*time.Millisecond},
		{value: `1e3`, life: 1000 * time.Second},
		{value: `"1E3"`, life: 1000 * time.Second},
		{value: `"+60"`, life: time.Minute},
		{value: `7200`, unit: "s", lifetime: "1h", life: 2 * time.Hour},
		{value: `34560000`, life: realm.MaxLifetime},

		{value: `7200000`, unit: "ms", life: 2 * time.Hour},
		{value: `"7200000"`, unit: "ms", life: 2 * time.Hour},
		{value: epoch, unit: "epoch_s", life: time.Hour},
		{value: `"` + epoch + `"`, unit: "epoch_s", life: time.Hour},
		{value: epoch + "000", unit: "epoch_ms", life: time.Hour},
		{value: epoch + "250", unit: "epoch_ms", life: time.Hour + 250*time.Millisecond},
		{value: `"2026-11-22T13:00:00Z"`, unit: "rfc3339", life: time.Hour},
		{value: `"2026-11-22T21:00:00.5+08:00"`, unit: "rfc3339", life: time.Hour + 500*time.Millisecond},

		{value: ``, life: defaultLifetime, warning: "no expiry"},
		{value: `null`, life: defaultLifetime, warning: "no expiry"},
		{value: ``, lifetime: "2h", life: 2 * time.Hour},
		{value: `null`, lifetime: "2h", life: 2 * time.Hour},
		{value: ``, lifetime: "unlimited", life: never},
		{value: `60`, lifetime: "unlimited", life: time.Minute},
		{value: ``, lifetime: "9999d", life: realm.MaxLifetime},
		{value: `""`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"soon"`, lifetime: "2h", life: 2 * time.Hour, warning: "could not be read as s"},
		{value: `"soon"`, lifetime: "unlimited", life: never, warning: "could not be read as s"},
		{value: `true`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `{}`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `[7200]`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"NaN"`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"Infinity"`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"0x10"`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"7_200"`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"7,200"`, life: defaultLifetime, warning: "could not be read as s"},
		{value: `"7200s"`, life: defaultLifetime, warning: "could not be read as s"},
		// Nothing is guessed beyond the unit.
		{value: `"2026-11-22T13:00:00Z"`, unit: "s", life: defaultLifetime, warning: "could not be read as s"},
		{value: `7200`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339"},
		{value: `"2026-11-22 13:00:00"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339"},

		{value: `0`, once: true, warning: "zero or in the past"},
		{value: `"0"`, once: true, warning: "zero or in the past"},
		{value: `-5`, once: true, warning: "zero or in the past"},
		{value: `-1e400`, once: true, warning: "zero or in the past"},
		{value: `1e-400`, once: true, warning: "zero or in the past"},
		{value: `7200`, unit: "epoch_s", once: true, warning: "zero or in the past"},
		{value: `"2020-01-01T00:00:00Z"`, unit: "rfc3339", once: true, warning: "zero or in the past"},

		{value: `34560001`, life: realm.MaxLifetime, warning: "ms?"},
		{value: `7200000000`, life: realm.MaxLifetime, warning: "ms?"},
		{value: `1e20`, life: realm.MaxLifetime, warning: "ms?"},
		{value: `1e400`, life: realm.MaxLifetime, warning: "ms?"},
		{value: epoch, unit: "s", life: realm.MaxLifetime, warning: "ms?"},
		{value: epoch + "000", unit: "epoch_s", life: realm.MaxLifetime, warning: "epoch_ms?"},
		{value: `1e20`, unit: "ms", life: realm.MaxLifetime, warning: "more than 400 days"},
		{value: `"9999-12-31T23:59:59Z"`, unit: "rfc3339", life: realm.MaxLifetime, warning: "more than 400 days"},
	} {
		t.Run(c.value+" "+c.unit+" "+c.lifetime, func(t *testing.T) {
			lifetime := realm.Lifetime{}
			if c.lifetime != "" {
				var err error
				if lifetime, err = realm.ParseLifetime(c.lifetime); err != nil {
					t.Fatal(err)
				}
			}
			e, err := compileExpiry("e", c.unit, "config.expires_in", lifetime)
			if err != nil {
				t.Fatal(err)
			}
			doc := `{"e":` + c.value + `}`
			if c.value == "" {
				doc = `{}`
			}
			got, err := e.read(gjson.Parse(doc), noon)
			if err != nil {
				t.Fatal(err)
			}
			want := noon.Add(c.life)
			if c.life == never {
				want = time.Time{}
			}
			if !got.at.Equal(want) || got.once != c.once {
				t.Errorf("end %v (once %v), want %v", got.at, got.once, want)
			}
			if c.warning == "" && got.warning != "" || !strings.Contains(got.warning, c.warning) {
				t.Errorf("warning %q, want %q", got.warning, c.warning)
			}
		})
	}
}

func TestExpiryWithoutPath(t *testing.T) {
	e, err := compileExpiry("", "", "config.expires_in", realm.Lifetime{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.read(gjson.Result{}, noon)
	if err != nil || !got.at.Equal(noon.Add(defaultLifetime)) || got.warning == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzExpiry: whatever a provider says, a token lives more than nothing and at
// most 400 days, or serves once.
func FuzzExpiry(f *testing.F) {
	units := []string{"s", "ms", "epoch_s", "epoch_ms", "rfc3339"}
	f.Add(`7200`, byte(0), int64(0))
	f.Add(`"2026-11-22T13:00:00Z"`, byte(4), int64(3600))
	f.Add(`1e308`, byte(2), int64(-1))
	f.Fuzz(func(t *testing.T, value string, unit byte, lifetime int64) {
		if !gjson.Valid(value) {
			return
		}
		e, err := compileExpiry("e", units[int(unit)%len(units)], "", realm.Lifetime{Duration: realm.Duration(lifetime)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.read(gjson.Parse(`{"e":`+value+`}`), noon)
		if err != nil {
			t.Fatal(err)
		}
		life := got.at.Sub(noon)
		if got.once != (life == 0) || life < 0 || life > realm.MaxLifetime {
			t.Errorf("%s in %s: life %v, once %v", value, e.unit, life, got.once)
		}
	})
}
