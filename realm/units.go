package realm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// MaxLifetime is the longest life that is believed of a token; longer ones
// are clamped, with a warning (most are milliseconds read as seconds).
const MaxLifetime = 400 * day

// Duration is a time.Duration that is written as text: "10s", "90m", "24h",
// "7d" (a day is 24 hours).
type Duration time.Duration

// maxDuration keeps every sum far from the end of an int64 of nanoseconds.
const maxDuration = 100 * 365 * day

// ParseDuration reads "10s", "1h30m", "7d" and their sums, up to 100 years.
// Signs are refused.
func ParseDuration(s string) (Duration, error) {
	wrong := func() (Duration, error) {
		return 0, fmt.Errorf("%.40q is not a duration: write 10s, 5m, 2h or 7d", s)
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	if strings.Trim(days, "0123456789.") != "" || strings.ContainsAny(rest, "+-") {
		return wrong()
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return wrong()
	}
	var d time.Duration
	if rest != "" || !found {
		if d, err = time.ParseDuration(rest); err != nil {
			return wrong()
		}
	}
	if n > maxDuration.Hours()/24 || d > maxDuration {
		return 0, fmt.Errorf("%.40q is too long", s)
	}
	return Duration(time.Duration(n*float64(day)) + d), nil
}

// Std is the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Or returns d, or def where d is zero.
func (d Duration) Or(def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}

// String is the shortest usual form: "24h", not "24h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form; null changes nothing.
func (d *Duration) UnmarshalJSON(b []byte) error {
	s, err := textOf(b, "a duration")
	if err != nil || isNull(b) {
		return err
	}
	*d, err = ParseDuration(s)
	return err
}

// Lifetime is a duration or "unlimited".
type Lifetime struct {
	Duration  Duration
	Unlimited bool
}

// ParseLifetime reads a duration above zero or "unlimited".
func ParseLifetime(s string) (Lifetime, error) {
	if s == "unlimited" {
		return Lifetime{Unlimited: true}, nil
	}
	d, err := ParseDuration(s)
	if err == nil && d == 0 {
		err = errors.New(`must be more than 0, or "unlimited"`)
	}
	return Lifetime{Duration: d}, err
}

// IsZero tells encoding/json that nothing was said.
func (l Lifetime) IsZero() bool { return l == Lifetime{} }

func (l Lifetime) String() string {
	if l.Unlimited {
		return "unlimited"
	}
	return l.Duration.String()
}

// MarshalJSON writes the text form.
func (l Lifetime) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads the text form; null changes nothing.
func (l *Lifetime) UnmarshalJSON(b []byte) error {
	s, err := textOf(b, `a duration or "unlimited"`)
	if err != nil || isNull(b) {
		return err
	}
	*l, err = ParseLifetime(s)
	return err
}

// Size is a number of bytes, written "64KiB", "1MiB", "2MB" or as a number.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
}

// ParseSize reads "1MiB", "500kB" or "1048576".
func ParseSize(s string) (Size, error) {
	number, factor := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%.40q is not a size: write 64KiB or 1MiB", s)
	}
	return Size(n * factor), nil
}

// String uses the largest binary unit that divides the size.
func (z Size) String() string {
	for _, u := range []int{2, 1, 0} {
		if f := sizeUnits[u].factor; z != 0 && int64(z)%f == 0 {
			return strconv.FormatInt(int64(z)/f, 10) + sizeUnits[u].suffix
		}
	}
	return strconv.FormatInt(int64(z), 10)
}

// MarshalJSON writes the text form.
func (z Size) MarshalJSON() ([]byte, error) { return json.Marshal(z.String()) }

// UnmarshalJSON reads the text form or a plain number of bytes; null changes
// nothing.
func (z *Size) UnmarshalJSON(b []byte) error {
	if isNull(b) {
		return nil
	}
	s := string(b)
	if len(b) > 0 && b[0] == '"' {
		var err error
		if s, err = textOf(b, "a size"); err != nil {
			return err
		}
	}
	var err error
	*z, err = ParseSize(s)
	return err
}

// textOf reads a JSON string; what names the type in the error.
func textOf(b []byte, what string) (string, error) {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return "", fmt.Errorf("must be %s as text, in quotes", what)
	}
	return s, nil
}
