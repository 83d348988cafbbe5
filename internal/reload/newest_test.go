package reload

import "testing"

// A configuration that fails to start gives way to the one before, and one that
// is stopped later, after its successor has started, changes nothing.
func TestNewest(t *testing.T) {
	var n Newest[string]
	if n.Load() != nil {
		t.Error("there is one at the beginning")
	}
	first, second, third := "first", "second", "third"
	n.Add(&first)
	n.Add(&second)
	if n.Load() != &second {
		t.Error("the second is not the newest")
	}
	n.Remove(&first)
	if n.Load() != &second {
		t.Error("the end of the first ended the second")
	}
	n.Add(&third)
	n.Remove(&third)
	if n.Load() != &second {
		t.Error("the third failed, and the second does not count again")
	}
	n.Remove(&third)
	n.Remove(&second)
	if n.Load() != nil {
		t.Error("something is left")
	}
}
