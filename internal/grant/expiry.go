package grant

import (
	"math"
	"net/http"
	"net/textproto"
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
	header   string // in place of the path
	name     string // of the value, in messages: the path or header as it was written
	unit     string
	zone     *time.Location // of dates without one; nil: they cannot be read
	lifetime realm.Lifetime
}

// ending is the end of a token as it was read.
type ending struct {
	at time.Time // zero for none
	// once: the life is zero or less; at is then the moment of sending.
	once    bool
	warning string
	// from says where the end was found: endFromLifetime or endFromDefault where the
	// provider said nothing that could be read.
	from expirySource
}

// expirySource is where the end of a token was found.
type expirySource string

// The sources.
const (
	endFromAnswer   expirySource = "answer"
	endFromToken    expirySource = "token" // a JWT
	endFromCookie   expirySource = "cookie"
	endFromLifetime expirySource = "lifetime"
	endFromDefault  expirySource = "default"
)

// compileExpiry checks the unit and the path of an expiry.
func compileExpiry(name, unit, field string, zone *time.Location, lifetime realm.Lifetime) (expiry, error) {
	e := expiry{name: name, unit: unit, zone: zone, lifetime: lifetime}
	switch unit {
	case "":
		e.unit = realm.UnitSeconds
	case realm.UnitSeconds, realm.UnitMilliseconds, realm.UnitEpoch, realm.UnitEpochMillis, realm.UnitRFC3339, realm.UnitJWT:
	default:
		return e, realm.Fieldf(field+"_unit", "must be s, ms, epoch_s, epoch_ms, rfc3339 or jwt")
	}
	if name == "" {
		e.name = "the token"
		return e, nil
	}
	var err error
	if e.path, err = parsePath(name); err != nil {
		return e, realm.Fieldf(field+"_path", "%v", err)
	}
	return e, nil
}

// readHeader makes the expiry that of a header field, where name is one.
func (e *expiry) readHeader(name, field string) error {
	if name == "" {
		return nil
	}
	if e.path != nil {
		return realm.Fieldf(field+".expires_in_header", "cannot stand beside expires_in_path: the expiry is at one place")
	}
	e.header, e.name = textproto.CanonicalMIMEHeaderKey(name), name
	return nil
}

// isSaid reports whether the realm says where the end stands.
func (e expiry) isSaid() bool { return e.path != nil || e.header != "" || e.unit == realm.UnitJWT }

// value is what the provider says about the end of a token: without a path or a
// header field, the token itself, which is a JWT. What is not said does not
// exist.
func (e expiry) value(h http.Header, root gjson.Result, token realm.Hidden) (gjson.Result, error) {
	switch {
	case e.path != nil:
		return e.path.in(root)
	case e.header != "":
		return headerValue(h, e.header), nil
	case e.unit == realm.UnitJWT:
		return gjson.Result{Type: gjson.String, Str: token.Reveal()}, nil
	}
	return gjson.Result{}, nil
}

// read finds the end of a token whose request was sent at that instant. What
// the provider says is the time that remains, so it counts from the sending.
func (e expiry) read(value gjson.Result, sent time.Time) ending {
	if !value.Exists() || value.Type == gjson.Null {
		return e.fallback("", sent)
	}
	life, ok := e.remaining(value, sent)
	if !ok {
		return e.fallback(e.name+" could not be read as "+e.unit+e.hint(value, sent), sent)
	}
	end := clampLife(e.name, life, sent)
	if end.from = endFromAnswer; e.path == nil && e.header == "" {
		end.from = endFromToken
	}
	if life > realm.MaxLifetime {
		end.warning += e.hint(value, sent)
	}
	return end
}

// fallback is the realm's lifetime, else defaultLifetime and a warning.
func (e expiry) fallback(warning string, sent time.Time) ending {
	if e.lifetime.Unlimited {
		return ending{warning: warning, from: endFromLifetime}
	}
	if life := e.lifetime.Duration.Std(); life > 0 {
		return ending{at: sent.Add(min(life, realm.MaxLifetime)), warning: warning, from: endFromLifetime}
	}
	if warning == "" {
		warning = "the answer has no expiry and the realm no lifetime"
	}
	return ending{at: sent.Add(defaultLifetime), warning: warning + "; 5m is assumed", from: endFromDefault}
}

// clampLife bounds a life that is called by that name. A token whose life is over
// already is good for whoever waits for it now, and no longer.
func clampLife(name string, life time.Duration, sent time.Time) ending {
	switch {
	case life <= 0:
		return ending{at: sent, once: true, warning: name + " is zero or in the past: the token is used for the waiting callers only"}
	case life > realm.MaxLifetime:
		return ending{at: sent.Add(realm.MaxLifetime), warning: name + " is more than 400 days, which is used instead"}
	}
	return ending{at: sent.Add(life)}
}

// hint names the usual reason of an expiry that is absurd or cannot be read:
// another unit, or a date without its zone.
func (e expiry) hint(value gjson.Result, sent time.Time) string {
	if _, zoneless, _ := parseDate(writtenText(value), e.zone); zoneless && e.unit == realm.UnitRFC3339 && value.Type == gjson.String {
		return ": it has no zone, which time_zone can name"
	}
	if unit := e.otherUnit(value, sent); unit != "" {
		return "; is its unit " + unit + "?"
	}
	return ""
}

// otherUnit is the unit that a value probably has which is absurd or cannot be read
// in its own; "" for none.
func (e expiry) otherUnit(value gjson.Result, sent time.Time) (unit string) {
	text := writtenText(value)
	_, zoneless, isDate := parseDate(text, e.zone)
	n, isNumber := parseDecimal(text)
	switch {
	case value.Type != gjson.String && value.Type != gjson.Number:
	case isDate || zoneless:
		unit = realm.UnitRFC3339
	case isNumber && isNear(n, sent):
		unit = realm.UnitEpoch
	case isNumber && isNear(n/1e3, sent):
		unit = realm.UnitEpochMillis
	case e.unit == realm.UnitSeconds && isNumber:
		unit = realm.UnitMilliseconds
	case e.unit == realm.UnitEpoch && isNumber:
		unit = realm.UnitEpochMillis
	}
	if unit == e.unit {
		return ""
	}
	return unit
}

// isNear reports whether seconds since 1970 are an instant from which on a token
// may have ended, or at which one may end.
func isNear(s float64, sent time.Time) bool {
	const day = 24 * time.Hour
	left := s - seconds(sent)
	return left > -day.Seconds() && left < realm.MaxLifetime.Seconds()
}

// decimal is a number as JSON and providers write it. ParseFloat alone would
// take NaN, Inf, hexadecimal and underscores too.
var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func parseDecimal(text string) (float64, bool) {
	if !decimal.MatchString(text) {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil || math.IsInf(n, 0)
}

// remaining is the life of a token from the instant sent on. Nothing is
// guessed beyond the unit: a date where seconds should be is not readable.
func (e expiry) remaining(value gjson.Result, sent time.Time) (time.Duration, bool) {
	if value.Type != gjson.String && value.Type != gjson.Number {
		return 0, false
	}
	text, unit := writtenText(value), e.unit
	if unit == realm.UnitRFC3339 {
		end, _, ok := parseDate(text, e.zone)
		return end.Sub(sent), ok && value.Type == gjson.String
	}
	if unit == realm.UnitJWT {
		exp, ok := expOf(text)
		if !ok || exp.Type != gjson.String && exp.Type != gjson.Number {
			return 0, false
		}
		text, unit = writtenText(exp), realm.UnitEpoch
	}
	n, ok := parseDecimal(text)
	if !ok {
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

// writtenText is a value as it is written, a number in its own spelling.
func writtenText(value gjson.Result) string {
	if value.Type == gjson.Number {
		return value.Raw
	}
	return strings.TrimSpace(value.String())
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
