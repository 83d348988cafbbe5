package grant

import (
	"encoding/base64"
	"errors"
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
		zone                  string
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
		{value: `"2026-11-22T21:00:00+0800"`, unit: "rfc3339", life: time.Hour},
		{value: `"2026-11-22T21:00:00.000000+08"`, unit: "rfc3339", life: time.Hour},
		{value: `"2026-11-22 21:00:00+08:00"`, unit: "rfc3339", life: time.Hour},
		{value: `"2026-11-22 21:00:00 +0800"`, unit: "rfc3339", life: time.Hour},
		{value: `" 2026-11-22t13:00:00z "`, unit: "rfc3339", life: time.Hour},
		{value: `"2026-11-22 13:00:00 UTC"`, unit: "rfc3339", life: time.Hour},
		{value: `"Sun, 22 Nov 2026 13:00:00 GMT"`, unit: "rfc3339", life: time.Hour},
		{value: `"Sun, 22 Nov 2026 21:00:00 +0800"`, unit: "rfc3339", life: time.Hour},
		{value: `"Sunday, 22-Nov-26 13:00:00 GMT"`, unit: "rfc3339", life: time.Hour},
		{value: `"Sun Nov 22 13:00:00 2026"`, unit: "rfc3339", life: time.Hour},
		{value: `"Sun Nov 22 13:00:00 2026"`, unit: "rfc3339", zone: "Asia/Shanghai", life: time.Hour},
		{value: `"2026-11-22 21:00:00"`, unit: "rfc3339", zone: "Asia/Shanghai", life: time.Hour},
		{value: `"2026-11-22T21:00:00.5"`, unit: "rfc3339", zone: "Asia/Shanghai", life: time.Hour + 500*time.Millisecond},
		{value: `"2026-11-22 13:00:00"`, unit: "rfc3339", zone: "UTC", life: time.Hour},
		{value: `"2026-11-22 08:00:00"`, unit: "rfc3339", zone: "America/New_York", life: time.Hour},
		{value: `"2026-11-22T13:00:00Z"`, unit: "rfc3339", zone: "Asia/Shanghai", life: time.Hour},

		{value: jwtOf(`{"exp":` + epoch + `}`), unit: "jwt", life: time.Hour},
		{value: jwtOf(`{"exp":` + epoch + `.5,"a":[1]}`), unit: "jwt", life: time.Hour + 500*time.Millisecond},
		{value: jwtOf(`{"exp":"` + epoch + `"}`), unit: "jwt", life: time.Hour},
		{value: jwtOf(`{"exp":1}`), unit: "jwt", once: true, warning: "zero or in the past"},
		{value: jwtOf(`{"exp":1e400}`), unit: "jwt", life: realm.MaxLifetime, warning: "more than 400 days"},
		{value: jwtOf(`{"iat":1}`), unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: jwtOf(`{"exp":null}`), unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: jwtOf(`{"exp":{}}`), unit: "jwt", lifetime: "2h", life: 2 * time.Hour, warning: "could not be read as jwt"},
		{value: jwtOf(`{"exp":1,"exp":` + epoch + `}`), unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: jwtOf(`{"exp":`), unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: `"a.b"`, unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: `"a.!.c"`, unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},
		{value: `7200`, unit: "jwt", life: defaultLifetime, warning: "could not be read as jwt"},

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
		{value: `"2026-11-22T13:00:00Z"`, unit: "s", life: defaultLifetime, warning: "could not be read as s; is its unit rfc3339?"},
		{value: `"2026-11-22 13:00:00"`, unit: "s", life: defaultLifetime, warning: "could not be read as s; is its unit rfc3339?"},
		{value: `7200`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339;"},
		{value: epoch, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339; is its unit epoch_s?"},
		{value: `"` + epoch + `000"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339; is its unit epoch_ms?"},
		{value: `"2026-11-22 13:00:00"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339: it has no zone, which time_zone can name"},
		{value: `"2026-11-22"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339;"},
		{value: `"2026-11-2213:00:00Z"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339;"},
		{value: `"2026-13-22 13:00:00"`, unit: "rfc3339", zone: "UTC", life: defaultLifetime, warning: "could not be read as rfc3339;"},
		{value: `"Sunday, 22-Nov-26 13:00:00 PST"`, unit: "rfc3339", life: defaultLifetime, warning: "could not be read as rfc3339;"},

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
		{value: epoch, unit: "s", life: realm.MaxLifetime, warning: "epoch_s?"},
		{value: `1796000000`, unit: "s", life: realm.MaxLifetime, warning: "is its unit epoch_s?"},
		{value: `"1796000000"`, unit: "s", life: realm.MaxLifetime, warning: "is its unit epoch_s?"},
		{value: `1796000000000`, unit: "s", life: realm.MaxLifetime, warning: "is its unit epoch_ms?"},
		{value: `1796000000000`, unit: "ms", life: realm.MaxLifetime, warning: "is its unit epoch_ms?"},
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
			zone, err := loadZone(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			e, err := compileExpiry("e", c.unit, "config.expires_in", zone, lifetime)
			if err != nil {
				t.Fatal(err)
			}
			doc := `{"e":` + c.value + `}`
			if c.value == "" {
				doc = `{}`
			}
			got := readExpiry(t, e, doc)
			want := noon.Add(c.life)
			if c.life == never {
				want = time.Time{}
			}
			if !got.at.Equal(want) || got.once != c.once {
				t.Errorf("end %v (once %v), want %v", got.at, got.once, want)
			}
			if c.warning == "" && got.warning != "" || !strings.Contains(got.warning+";", c.warning) {
				t.Errorf("warning %q, want %q", got.warning, c.warning)
			}
		})
	}
}

// readExpiry reads the end out of a document.
func readExpiry(t *testing.T, e expiry, doc string) ending {
	t.Helper()
	value, err := e.value(nil, gjson.Parse(doc), "")
	if err != nil {
		t.Fatal(err)
	}
	return e.read(value, noon)
}

func TestExpiryWithoutPath(t *testing.T) {
	e, err := compileExpiry("", "", "config.expires_in", nil, realm.Lifetime{})
	if err != nil {
		t.Fatal(err)
	}
	got := readExpiry(t, e, `{}`)
	if !got.at.Equal(noon.Add(defaultLifetime)) || got.warning == "" {
		t.Errorf("%+v", got)
	}
}

// FuzzExpiry: whatever a provider says, a token lives more than nothing and at
// most 400 days, or serves once.
func FuzzExpiry(f *testing.F) {
	units := []string{"s", "ms", "epoch_s", "epoch_ms", "rfc3339", "jwt"}
	zones := []*time.Location{nil, time.UTC, time.FixedZone("", 8*3600)}
	f.Add(`7200`, byte(0), int64(0))
	f.Add(`"2026-11-22 21:00:00 +0800"`, byte(4), int64(0))
	f.Add(`"2026-11-22 21:00:00"`, byte(10), int64(0))
	f.Add(jwtOf(`{"exp":1796000000}`), byte(5), int64(0))
	f.Add(`"2026-11-22T13:00:00Z"`, byte(4), int64(3600))
	f.Add(`1e308`, byte(2), int64(-1))
	f.Fuzz(func(t *testing.T, value string, unit byte, lifetime int64) {
		if !gjson.Valid(value) {
			return
		}
		e, err := compileExpiry("e", units[int(unit)%len(units)], "", zones[int(unit)%len(zones)], realm.Lifetime{Duration: realm.Duration(lifetime)})
		if err != nil {
			t.Fatal(err)
		}
		got := readExpiry(t, e, `{"e":`+value+`}`)
		life := got.at.Sub(noon)
		if got.once != (life == 0) || life < 0 || life > realm.MaxLifetime {
			t.Errorf("%s in %s: life %v, once %v", value, e.unit, life, got.once)
		}
	})
}

// jwtOf is a JSON string of a JWT with the claims and a signature that is none.
func jwtOf(claims string) string {
	return `"eyJhbGciOiJub25lIn0.` + base64.RawURLEncoding.EncodeToString([]byte(claims)) + `.c2ln"`
}

// TestExpiryOfTheToken: without a path, unit jwt reads the token itself, also
// where a grant has a default path, or the fetch recipe has one.
func TestExpiryOfTheToken(t *testing.T) {
	token := jwtOf(`{"exp":` + strconv.FormatInt(noon.Add(time.Hour).Unix(), 10) + `}`)
	answer := answering(200, "", `{"token":`+token+`,"access_token":`+token+`,"refresh_token":`+token+`,"expires_in":7200}`)
	for _, config := range []string{
		`{"url":"@","token_path":"token","expires_in_unit":"jwt"}`,
		`{"url":"@","token_path":"token","expires_in_unit":"jwt","expires_in_path":"refresh_token"}`,
		`{"grant":{"name":"client_credentials","token_url":"@","client_id":"a","client_secret":"b"},"expires_in_unit":"jwt"}`,
		`{"grant":{"name":"delegate","token_url":"@"},"expires_in_unit":"jwt"}`,
	} {
		got, failed := fetchFrom(t, config, answer)
		if failed != nil || !got.Token.ExpiresAt.Equal(noon.Add(time.Hour)) || len(got.Warnings) > 0 {
			t.Errorf("%s: %v, %v, %v", config, failed, got.Token.ExpiresAt, got.Warnings)
		}
	}
	got, failed, _ := refreshFrom(t, `{"token_path":"token","expires_in_path":"expires_in","refresh_token_path":"refresh_token",
		"refresh":{"url":"@?r={refresh_token}","expires_in_unit":"jwt","refresh_expires_in_unit":"jwt"}}`, answer)
	if failed != nil || !got.Token.ExpiresAt.Equal(noon.Add(time.Hour)) || !got.Token.RefreshExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("%v, %+v", failed, got.Token)
	}
	got, failed = fetchFrom(t, `{"url":"@","token_path":"token","expires_in_unit":"jwt"}`, answering(200, "", `{"token":"opaque"}`))
	if failed != nil || len(got.Warnings) != 1 || !strings.HasPrefix(got.Warnings[0], "the token could not be read as jwt") {
		t.Errorf("an opaque token: %v, %v", failed, got.Warnings)
	}
}

// TestTimeZone: the zone is judged when the realm is saved, and a corrected one
// makes other tokens of the same answers.
func TestTimeZone(t *testing.T) {
	for _, name := range []string{"Local", "Asia/Nowhere", "+08:00", "../../etc/passwd", "GMT+8"} {
		_, err := Compile(realmOf(t, `{"url":"https://x/t","token_path":"t","time_zone":"`+name+`"}`, ""), false)
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != "config.time_zone" {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, failed := fetchFrom(t, `{"url":"@","token_path":"t","expires_in_path":"e","expires_in_unit":"rfc3339","time_zone":"Asia/Shanghai"}`, answering(200, "", `{"t":"T","e":"2026-11-22 21:00:00"}`))
	if failed != nil || !got.Token.ExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("%v, %v", failed, got.Token.ExpiresAt)
	}
	shanghai := func(r *realm.Realm) { r.Config.TimeZone = "Asia/Shanghai" }
	if fingerprint(t, shanghai, nil) == fingerprint(t, nil, nil) {
		t.Error("the fingerprint stays")
	}
	if digestsOf(t, shanghai, nil)["fetch"] == digestsOf(t, nil, nil)["fetch"] {
		t.Error("the digest stays")
	}
}
