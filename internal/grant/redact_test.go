package grant

import "testing"

// A password that a person chose may be short, and a provider may quote it.
func TestShortPasswordsAreHidden(t *testing.T) {
	r := newRedactor([]string{"1234", "密码", "abc"})
	if got := r.text("wrong password 1234 or 密码, or abc"); got != "wrong password ****************** or ******************, or abc" {
		t.Errorf("got %q", got)
	}
}
