package realm

import (
	"encoding/json"
	"testing"
)

// TestSwitch: nothing said is left out, and what is said is said again.
func TestSwitch(t *testing.T) {
	for text, want := range map[string]Switch{`{}`: Unsaid, `{"scrub":true}`: On, `{"scrub":false}`: Off} {
		var c Config
		if err := Decode([]byte(text), "config", &c); err != nil || c.Scrub != want {
			t.Errorf("%s: %v, %v", text, c.Scrub, err)
		}
		if again, err := json.Marshal(c); err != nil || string(again) != text {
			t.Errorf("%s is written as %s, %v", text, again, err)
		}
	}
	var c Config
	for _, text := range []string{`{"scrub":"true"}`, `{"scrub":1}`, `{"scrub":[]}`} {
		if err := Decode([]byte(text), "config", &c); err == nil || err.Error() != "config.scrub: must be true or false, without quotes" {
			t.Errorf("%s: %v", text, err)
		}
	}
}
