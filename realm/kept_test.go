package realm

import "testing"

// TestKept: values are given back as they are, and two that say the same are
// equal, so that tokens can be compared.
func TestKept(t *testing.T) {
	want := map[string]string{"answer.instance_url": "https://acme.example", "callback.realmId": `9"\\<>&\u2028`}
	kept := KeptOf(want)
	for range 10 {
		if KeptOf(kept.Reveal()) != kept {
			t.Fatal("the same values are kept in another form")
		}
	}
	got := kept.Reveal()
	if len(got) != len(want) {
		t.Fatalf("%d values", len(got))
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	if KeptOf(nil) != "" || KeptOf(map[string]string{}) != "" || Kept("").Reveal() != nil {
		t.Error("there is something in nothing")
	}
}
