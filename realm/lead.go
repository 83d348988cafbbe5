package realm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Lead is how long ahead of its end a token is renewed: a share of its life,
// written "10%" and capped at ten minutes, or a duration, written "5m".
type Lead struct {
	Share float64 // above 0 and up to 0.5; 0 where Fixed says it
	Fixed Duration
}

// ParseLead reads "10%" (above 0% and up to 50%) or a duration above zero.
func ParseLead(s string) (Lead, error) {
	if number, ok := strings.CutSuffix(s, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent > 0 && percent <= 50) {
			return Lead{}, fmt.Errorf("%.40q is not a share above 0%% and up to 50%%", s)
		}
		return Lead{Share: percent / 100}, nil
	}
	d, err := ParseDuration(s)
	if err == nil && d == 0 {
		err = fmt.Errorf("%.40q is no time at all", s)
	}
	return Lead{Fixed: d}, err
}

// IsZero reports whether nothing was said.
func (l Lead) IsZero() bool { return l == Lead{} }

// String is the form that ParseLead reads; "" for the zero value.
func (l Lead) String() string {
	switch {
	case l.IsZero():
		return ""
	case l.Fixed != 0:
		return l.Fixed.String()
	}
	// A share is a quotient: 7% is 0.07, and 0.07 times 100 is a little more than 7.
	for digits := 0; digits < 16; digits++ {
		percent := strconv.FormatFloat(l.Share*100, 'f', digits, 64)
		if number, err := strconv.ParseFloat(percent, 64); err == nil && number/100 == l.Share {
			return percent + "%"
		}
	}
	return strconv.FormatFloat(l.Share*100, 'f', -1, 64) + "%"
}

// MarshalJSON writes the text form.
func (l Lead) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads the text form; null changes nothing.
func (l *Lead) UnmarshalJSON(b []byte) error {
	s, err := textOf(b, `a share or a duration, as "10%" or "5m"`)
	if err != nil || isNull(b) {
		return err
	}
	*l, err = ParseLead(s)
	return err
}
