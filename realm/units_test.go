package realm

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "0s": 0, "0": 0, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"7d": 7 * day, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0, "250ms": 250 * time.Millisecond,
		"36500d": maxDuration,
	} {
		if got, err := ParseDuration(text); err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "10", "s", "d", "ten", "-1s", "+1s", "1d-1h", "-1d", "+1d", "1e3d", "0x10d", "nand", "infd", "1.2.3d",
		"1d1d", "1h1d", "1w", "36501d", "900000h", "36500d2000000h", "99999999999999999999d", "1 d", "1_0d",
	} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, got)
		}
	}
}

// A sum of days and hours ran over the end of an int64 once, into a negative
// duration.
func TestDurationsAreNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,6}(\.[0-9]{1,3})?d([0-9]{1,7}h)?([0-9]{1,9}m)?`).Draw(t, "text")
		if d, err := ParseDuration(text); err == nil && (d < 0 || d.Std() > 2*maxDuration) {
			t.Fatalf("ParseDuration(%q) = %v", text, d)
		}
	})
}

func TestUnitsSurviveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, int64(maxDuration)).Draw(t, "duration"))
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Fatalf("%d prints as %v and reads as %d (%v)", d, d, back, err)
		}
		z := Size(rapid.Int64Range(0, math.MaxInt64).Draw(t, "size"))
		if back, err := ParseSize(z.String()); err != nil || back != z {
			t.Fatalf("%d prints as %v and reads as %d (%v)", z, z, back, err)
		}
	})
}

func TestDurationString(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 70 * time.Minute: "1h10m", 10 * time.Minute: "10m",
		time.Hour + time.Second: "1h0m1s", 0: "0s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%d prints as %s, want %s", d, got, want)
		}
	}
	if got := Duration(0).Or(time.Second); got != time.Second {
		t.Errorf("zero stands for %v", got)
	}
	if got := Duration(time.Minute).Or(time.Second); got != time.Minute {
		t.Errorf("a minute stands for %v", got)
	}
}

func TestParseLifetime(t *testing.T) {
	if l, err := ParseLifetime("unlimited"); err != nil || !l.Unlimited || l.IsZero() || l.String() != "unlimited" {
		t.Errorf("unlimited reads as %v, %v", l, err)
	}
	if l, err := ParseLifetime("2h"); err != nil || l.Duration.Std() != 2*time.Hour || l.Unlimited || l.String() != "2h" {
		t.Errorf("2h reads as %v, %v", l, err)
	}
	for _, text := range []string{"", "0s", "0d", "Unlimited", "never", "-1h"} {
		if l, err := ParseLifetime(text); err == nil {
			t.Errorf("ParseLifetime(%q) = %v", text, l)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1048576": 1 << 20, "1MiB": 1 << 20, "64KiB": 64 << 10, "2GiB": 2 << 30, "500kB": 500_000,
		"500KB": 500_000, "2MB": 2_000_000, "3GB": 3_000_000_000, "17B": 17, " 1 MiB ": 1 << 20,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "-1MiB", "1.5MiB", "1e6", "1TiB", "0x10", "9223372036854775807KiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}

func TestUnitsFromJSON(t *testing.T) {
	type units struct {
		D Duration
		L Lifetime
		Z Size
	}
	before := units{D: 1, L: Lifetime{Unlimited: true}, Z: 2}
	got := before
	if err := json.Unmarshal([]byte(`{"D": null, "L": null, "Z": null}`), &got); err != nil || got != before {
		t.Errorf("null gives %+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"D": "10s", "L": "7d", "Z": 5}`), &got); err != nil {
		t.Error(err)
	}
	if want := (units{Duration(10 * time.Second), Lifetime{Duration: Duration(7 * day)}, 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{`{"D": 10}`, `{"D": true}`, `{"L": 10}`, `{"L": {}}`, `{"Z": true}`, `{"Z": 1e6}`, `{"Z": []}`, `{"Z": "x"}`} {
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// An error must not echo a whole request body.
func TestUnitErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	_, duration := ParseDuration(long)
	_, size := ParseSize(long)
	_, life := ParseLifetime(long)
	for _, err := range []error{duration, size, life} {
		if err == nil || len(err.Error()) > 150 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

func TestInstant(t *testing.T) {
	if InstantOf(time.Time{}) != 0 || !Instant(0).Time().IsZero() {
		t.Error("the zero time does not stay zero")
	}
	at := time.Date(2026, 11, 22, 18, 0, 0, 123456000, time.FixedZone("CST", 8*3600))
	if back := InstantOf(at).Time(); !back.Equal(at) || back.Location() != time.UTC {
		t.Errorf("%v became %v", at, back)
	}
}

func TestTokenExpired(t *testing.T) {
	end := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	token := Token{ExpiresAt: end}
	if token.Expired(end.Add(-1)) || !token.Expired(end) || !token.Expired(end.Add(1)) {
		t.Error("a token has ended exactly from its end on")
	}
	if (&Token{}).Expired(end) {
		t.Error("a token without an end has ended")
	}
}
