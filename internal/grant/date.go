package grant

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Layouts of a date, after normalDate: with a zone, and without one. A fraction
// of a second is read with each of them.
var (
	zonedLayouts  = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", time.RFC1123Z}
	zonelessDates = []string{"2006-01-02T15:04:05"}
)

// parseDate reads a date of RFC 3339 and what providers write in its place: a
// blank for the T or before the zone, +0800 or +08 for +08:00, and the dates of
// HTTP (RFC 9110 section 5.6.7, all three forms). A date without a zone is of
// zone. Where that is nil it is not read, and zoneless is true: to guess the
// zone would be wrong by hours.
func parseDate(text string, zone *time.Location) (at time.Time, zoneless, ok bool) {
	text = normalDate(text)
	for _, layout := range zonedLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at, false, true
		}
	}
	for _, layout := range zonelessDates {
		if _, err := time.Parse(layout, text); err != nil {
			continue
		}
		if zone == nil {
			return time.Time{}, true, false
		}
		at, err := time.ParseInLocation(layout, text, zone)
		return at, false, err == nil
	}
	// The form of RFC 850 takes every name for a zone, and an unknown one for
	// that of Greenwich. asctime has none, and is of Greenwich by the standard.
	at, err := http.ParseTime(text)
	return at, false, err == nil && (at.Location() == time.UTC || strings.HasSuffix(text, "GMT"))
}

// normalDate writes a T for the blank between date and time, and takes away the
// one before the zone. Other texts stay.
func normalDate(text string) string {
	const day = len("2006-01-02")
	if len(text) <= day || !strings.ContainsRune("Tt ", rune(text[day])) || strings.Trim(text[:day], "0123456789-") != "" {
		return text
	}
	clock := text[day+1:]
	if strings.HasSuffix(clock, " UTC") || strings.HasSuffix(clock, " GMT") {
		clock = clock[:len(clock)-len(" UTC")] + "Z"
	}
	return text[:day] + "T" + strings.Replace(strings.Replace(clock, " ", "", 1), "z", "Z", 1)
}

// expOf is the claim exp of a JWT (RFC 7519 section 4.1.4), in seconds since 1970.
// The signature is not checked: the token came from its provider, and whoever
// could change the claim could give another token. What is no JWT, or is
// encrypted, has no exp.
func expOf(token string) (gjson.Result, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return gjson.Result{}, false
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || !json.Valid(claims) {
		return gjson.Result{}, false
	}
	exp, err := path{"exp"}.in(gjson.ParseBytes(claims))
	return exp, err == nil && exp.Exists()
}

// loadZone finds the zone of dates that have none; nil where the realm names
// none. The database of zones is in the binary. Local is refused, because it
// differs between nodes.
func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, realm.Fieldf("config.time_zone", "must be a name of the IANA database such as Asia/Shanghai or UTC, not %.40q", name)
	}
	return zone, nil
}
