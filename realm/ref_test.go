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

func TestCutRef(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Ref{rapid.StringN(0, 300, -1).Draw(t, "realm"), rapid.StringN(0, 300, -1).Draw(t, "key")}
		behind := rapid.SliceOf(rapid.Byte()).Draw(t, "behind")
		whole := want.AppendTo(nil)
		got, rest, ok := CutRef(append(whole[:len(whole):len(whole)], behind...))
		if !ok || got != want || !bytes.Equal(rest, behind) {
			t.Fatalf("%q became %q and %q, %v", want, got, rest, ok)
		}
		for n := range whole { // cut short
			if _, _, ok := CutRef(whole[:n]); ok {
				t.Fatalf("%d bytes of %d are read", n, len(whole))
			}
		}
	})
}

// FuzzCutRef: no bytes do harm, and what is read says no more than they do.
func FuzzCutRef(f *testing.F) {
	f.Add([]byte("\x02wx\x04main rest"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"))
	f.Add([]byte("\x80\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, ok := CutRef(b)
		if ok && len(r.Realm)+len(r.Key)+len(rest)+2 > len(b) {
			t.Fatalf("%q became %q and %q", b, r, rest)
		}
	})
}
