package tokenstore_test

import (
	"encoding/json"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// TestPhase: the words are stored, and a word that is not known is no claim
// that nobody holds.
func TestPhase(t *testing.T) {
	for phase, want := range map[tokenstore.Phase]string{
		tokenstore.PhaseNone: `{}`, tokenstore.PhaseCalling: `{"phase":"calling"}`, tokenstore.PhaseAwaiting: `{"phase":"awaiting_callback"}`,
	} {
		text, err := json.Marshal(tokenstore.Claim{Phase: phase})
		if err != nil || string(text) != want {
			t.Errorf("%v is written as %s, %v", phase, text, err)
		}
		var back tokenstore.Claim
		if err := json.Unmarshal(text, &back); err != nil || back.Phase != phase {
			t.Errorf("%s is read as %v, %v", text, back.Phase, err)
		}
	}
	for _, text := range []string{`{"phase":"resting"}`, `{"phase":""}`, `{"phase":"Calling"}`, `{"phase":1}`} {
		var c tokenstore.Claim
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s is read as %v", text, c.Phase)
		}
	}
	if text, err := json.Marshal(tokenstore.Claim{Phase: 3}); err == nil {
		t.Errorf("a phase that does not exist is written as %s", text)
	}
}
