package realm

import "errors"

// Switch is an option that is on or off, or of which nothing is said: then the
// realm's preset decides, and without one it is off. In JSON it is true or false, and
// absent where nothing is said.
type Switch int8

// What may be said.
const (
	Unsaid Switch = iota
	On
	Off
)

// SwitchOf is On or Off.
func SwitchOf(isOn bool) Switch {
	if isOn {
		return On
	}
	return Off
}

// IsOn reports whether it is on.
func (s Switch) IsOn() bool { return s == On }

// MarshalJSON writes true or false.
func (s Switch) MarshalJSON() ([]byte, error) {
	if s.IsOn() {
		return []byte("true"), nil
	}
	return []byte("false"), nil
}

// UnmarshalJSON reads true or false.
func (s *Switch) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "null": // says nothing
	case "true":
		*s = On
	case "false":
		*s = Off
	default:
		return errors.New("must be true or false, without quotes")
	}
	return nil
}
