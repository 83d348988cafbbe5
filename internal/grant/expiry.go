package grant

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// defaultLifetime is believed of a token whose answer says nothing about its
// end, where the realm says nothing either.
const defaultLifetime = 5 * time.Minute

// expiry is how the end of a token is read.
type expiry struct {
	path     path
	name     string // the path as it was written
	unit     string
	lifetime realm.Lifetime
}

// ending is the end of a token as it was read.
type ending struct {
	at time.Time // zero for none
	// once: the life is zero or less; at is then the moment of sending.
	once    bool
	warning string
}

// compileExpiry checks the unit and the path of an expiry.
func compileExpiry(name, unit, field string, lifetime realm.Lifetime) (expiry, error) {
	e := expiry{name: name, unit: unit, lifetime: lifetime}
	switch unit {
	case "":
		e.unit = realm.UnitSeconds
	case realm.UnitSeconds, realm.UnitMilliseconds, realm.UnitEpoch, realm.UnitEpochMillis, realm.UnitRFC3339:
	default:
		return e, realm.Fieldf(field+"_unit", "must be s, ms, epoch_s, epoch_ms or rfc3339")
	}
	if name == "" {
		return e, nil
	}
	var err error
	if e.path, err = parsePath(name); err != nil {
		return e, realm.Fieldf(field+"_path", "%v", err)
	}
	return e, nil
}

// read finds the end of a token whose request was sent at that instant. What
// the provider says is the time that remains, so it counts from the sending.
func (e expiry) read(root gjson.Result, sent time.Time) (ending, error) {
	if e.path == nil {
		return e.fallback("", sent), nil
	}
	value, err := e.path.in(root)
	if err != nil {
		return ending{}, err
	}
	if !value.Exists() || value.Type == gjson.Null {
		return e.fallback("", sent), nil
	}
	life, ok := remaining(value, e.unit, sent)
	if !ok {
		return e.fallback(e.name+" could not be read as "+e.unit, sent), nil
	}
	return e.clamp(life, sent), nil
}

// fallback is the realm's lifetime, else defaultLifetime and a warning.
func (e expiry) fallback(warning string, sent time.Time) ending {
	if e.lifetime.Unlimited {
		return ending{warning: warning}
	}
	if life := e.lifetime.Duration.Std(); life > 0 {
		return ending{at: sent.Add(min(life, realm.MaxLifetime)), warning: warning}
	}
	if warning == "" {
		warning = "the answer has no expiry and the realm no lifetime"
	}
	return ending{at: sent.Add(defaultLifetime), warning: warning + "; 5m is assumed"}
}

// clamp bounds a life. A token whose life is over already is good for whoever
// waits for it now, and no longer.
func (e expiry) clamp(life time.Duration, sent time.Time) ending {
	switch {
	case life <= 0:
		return ending{at: sent, once: true, warning: e.name + " is zero or in the past: the token is used for the waiting callers only"}
	case life > realm.MaxLifetime:
		return ending{at: sent.Add(realm.MaxLifetime), warning: e.name + " is more than 400 days, which is used instead" + e.hint()}
	}
	return ending{at: sent.Add(life)}
}

// hint names the usual reason of an absurd expiry.
func (e expiry) hint() string {
	switch e.unit {
	case realm.UnitSeconds:
		return "; is its unit ms?"
	case realm.UnitEpoch:
		return "; is its unit epoch_ms?"
	}
	return ""
}

// decimal is a number as JSON and providers write it. ParseFloat alone would
// take NaN, Inf, hexadecimal and underscores too.
var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// remaining is the life of a token from the instant sent on. Nothing is
// guessed beyond the unit: a date where seconds should be is not readable.
func remaining(value gjson.Result, unit string, sent time.Time) (time.Duration, bool) {
	if value.Type != gjson.String && value.Type != gjson.Number {
		return 0, false
	}
	text := strings.TrimSpace(value.String())
	if value.Type == gjson.Number {
		text = value.Raw
	}
	if unit == realm.UnitRFC3339 {
		end, err := time.Parse(time.RFC3339, text)
		return end.Sub(sent), err == nil && value.Type == gjson.String
	}
	if !decimal.MatchString(text) {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(n, 0) {
		return 0, false
	}
	switch unit {
	case realm.UnitMilliseconds:
		n /= 1e3
	case realm.UnitEpoch:
		n -= seconds(sent)
	case realm.UnitEpochMillis:
		n = n/1e3 - seconds(sent)
	}
	return duration(n), true
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// duration converts seconds; what is longer than any believed life becomes
// just more than that, so that nothing overflows.
func duration(s float64) time.Duration {
	if limit := (realm.MaxLifetime + time.Second).Seconds(); s > limit {
		s = limit
	}
	return time.Duration(max(s, -1) * float64(time.Second))
}
