package realm

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestRefsThatLookAlikeAreDifferentBytes(t *testing.T) {
	pairs := [][2]Ref{
		{{"a", "bc"}, {"ab", "c"}},
		{{"a/b", "c"}, {"a", "b/c"}},
		{{"a|b", "c"}, {"a", "b|c"}},
		{{"", "a"}, {"a", ""}},
		{{"main", "x"}, {"main ", "x"}},
	}
	for _, p := range pairs {
		if bytes.Equal(p[0].AppendTo(nil), p[1].AppendTo(nil)) {
			t.Errorf("%+v and %+v are the same bytes", p[0], p[1])
		}
	}
}

// Not even behind each other can two references be read as two others.
func TestRefBytesAreInjective(t *testing.T) {
	ref := func(t *rapid.T, name string) Ref {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("a/\x01\x02é")), 0, 4, -1)
		return Ref{s.Draw(t, name+" realm"), s.Draw(t, name+" key")}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c, d := ref(t, "a"), ref(t, "b"), ref(t, "c"), ref(t, "d")
		same := bytes.Equal(b.AppendTo(a.AppendTo(nil)), d.AppendTo(c.AppendTo(nil)))
		if same != (a == c && b == d) {
			t.Fatalf("%q %q and %q %q: %v", a, b, c, d, same)
		}
	})
}

func TestRefAppendToAppends(t *testing.T) {
	got := Ref{"wx", "main"}.AppendTo([]byte("tokens:"))
	if want := "tokens:\x02wx\x04main"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s := (Ref{"wx", "main"}).String(); s != "wx/main" {
		t.Errorf("prints as %s", s)
	}
}
