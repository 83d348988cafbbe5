package inject

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// bodyForms are the forms of a secret, written by others than the masker.
func bodyForms(secret string) []string {
	lower := hex.EncodeToString([]byte(secret))
	list := []string{secret, lower, strings.ToUpper(lower), string(withoutEscapes([]byte(secret), percentEscapes))}
	for offset := range 3 {
		// What is the same whatever the neighbours are.
		a := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret + "\x00\x00"))
		b := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\xff", offset) + secret + "\xff\xff"))
		same := []byte{}
		for i := range min(len(a), len(b)) {
			if a[i] == b[i] {
				same = append(same, a[i])
			}
		}
		list = append(list, string(same))
	}
	return list
}

// model is what has to come of a whole body: each occurrence of each form is
// replaced, in each of the three readings.
func model(body string, secrets []string) string {
	type character struct{ begin, end int }
	folded := strings.NewReplacer("-", "+", " ", "+", "_", "/")
	masked := []byte(body)
	for _, kind := range []*escapes{nil, jsonEscapes, percentEscapes} {
		var text []byte
		var at []character
		for begin := 0; begin < len(body); {
			e := escapeOf(body[begin], 1)
			if kind != nil && body[begin] == kind.mark {
				e, _ = kind.undo([]byte(body[begin:]), true)
			}
			for _, c := range e.bytes[:e.count] {
				text, at = append(text, c), append(at, character{begin, begin + e.size})
			}
			begin += e.size
		}
		read := folded.Replace(string(text))
		for _, s := range secrets {
			for _, f := range bodyForms(s) {
				f = folded.Replace(f)
				for i := range read {
					if strings.HasPrefix(read[i:], f) {
						for k := at[i].begin; k < at[i+len(f)-1].end; k++ {
							masked[k] = '*'
						}
					}
				}
			}
		}
	}
	return string(masked)
}

// arriving is a body that comes in pieces.
type arriving struct {
	list []string
	err  error // at the end; nil for io.EOF
}

func (p *arriving) Read(b []byte) (int, error) {
	if len(p.list) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b, p.list[0])
	if p.list[0] = p.list[0][n:]; p.list[0] == "" {
		p.list = p.list[1:]
	}
	return n, nil
}

func cut(t *rapid.T, body string) *arriving {
	p := new(arriving)
	for len(body) > 0 {
		n := rapid.IntRange(1, min(len(body), 40)).Draw(t, "piece")
		p.list = append(p.list, body[:n])
		body = body[n:]
	}
	return p
}

var percentEscape = regexp.MustCompile(`%..`)

// aWriting draws a way to write a secret into a body.
func aWriting(t *rapid.T, secret string) string {
	around := rapid.StringMatching(`[a-c]{0,4}`)
	text := secret
	switch rapid.IntRange(0, 6).Draw(t, "form") {
	case 1:
		text = hex.EncodeToString([]byte(secret))
	case 2:
		text = strings.ToUpper(hex.EncodeToString([]byte(secret)))
	case 3:
		text = base64.StdEncoding.EncodeToString([]byte(around.Draw(t, "before") + secret + around.Draw(t, "after")))
	case 4:
		text = base64.RawURLEncoding.EncodeToString([]byte(around.Draw(t, "before") + secret + around.Draw(t, "after")))
	}
	switch rapid.IntRange(0, 7).Draw(t, "escaped") {
	case 1:
		text = url.QueryEscape(text)
	case 2:
		text = url.QueryEscape(url.QueryEscape(text))
	case 3:
		text = percentEscape.ReplaceAllStringFunc(url.QueryEscape(text), strings.ToLower)
	case 4:
		text = everyByteEscaped(text)
	case 5:
		b, _ := json.Marshal(text)
		text = strings.ReplaceAll(string(b[1:len(b)-1]), "/", `\/`)
	case 6:
		var b strings.Builder
		for _, r := range text {
			fmt.Fprintf(&b, rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(t, "case"), r)
		}
		text = b.String()
	}
	return text
}

// aBody draws a body that quotes secrets, and parts of them.
func aBody(t *rapid.T, secrets []string) string {
	var body strings.Builder
	for range rapid.IntRange(0, 8).Draw(t, "parts") {
		secret := rapid.SampledFrom(secrets).Draw(t, "secret")
		text := aWriting(t, secret)
		switch rapid.IntRange(0, 3).Draw(t, "part") {
		case 0:
			text = text[:rapid.IntRange(0, len(text)).Draw(t, "end")]
		case 1:
			text = text[rapid.IntRange(0, len(text)).Draw(t, "begin"):]
		}
		body.WriteString(text)
		body.WriteString(rapid.StringMatching(`([ab%\\u025/+_-]|\\u00|%2|data: |\n){0,6}`).Draw(t, "between"))
	}
	return body.String()
}

// aSecret draws secrets that repeat themselves, and look like escapes.
func aSecret(t *rapid.T) string {
	return rapid.OneOf(
		rapid.StringMatching(`[ab]{6,12}`), rapid.StringMatching(`[ab%25\\u/+_ "-]{6,12}`),
		rapid.StringMatching(`[!-~]{6,30}`), rapid.StringMatching(`(ab){3,6}`), rapid.StringMatching(`[aé😀]{6,9}`),
	).Draw(t, "a secret")
}

func leaseOf(secret string) *realm.Lease {
	l := apiLease(inHeader)
	l.Access, l.Values = realm.Hidden(secret), []string{"Bearer " + secret}
	return l
}

// Wherever a body is cut, what comes of it is what comes of the whole: every form is
// masked, nothing else is, and the length stays.
func TestMaskedBodyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := []string{aSecret(t), aSecret(t)}
		body := aBody(t, secrets)
		tokens := sentTokens{leaseOf(secrets[0]), leaseOf(secrets[1])}
		got, err := io.ReadAll(newMaskedBody(new(trieCache).get(tokens), cut(t, body)))
		noError(t, err)
		if want := model(body, secrets); string(got) != want {
			t.Fatalf("secrets %q\nbody %q\nwant %q\ngot  %q", secrets, body, want, got)
		}
	})
}

// The cases that random bodies seldom meet.
func TestMaskedBodyByteByByte(t *testing.T) {
	for _, tt := range []struct {
		secrets    []string
		body, want string
	}{
		// The escape that is not complete yet begins with the end of a form.
		{[]string{`     \`}, `     \\u00`, "*******u00"},
		// After an escape, both readings are in the same state, and differ.
		{[]string{"a/bcdef"}, `a\/bcdef`, "********"},
		{[]string{"/abcdef"}, `\/abcdef`, "********"},
		// One form ends within another.
		{[]string{"abcdefghij", "cdefgh"}, "abcdefghi.", "ab******i."},
		{[]string{"abcdef", "cdefgh"}, "abcdefgh.", "********."},
		{[]string{"aaaaaa"}, "aaaaaaaab", "********b"},
		// A rune of four bytes is written by two escapes.
		{[]string{"a😀bc"}, `a\ud83d\ude00bc`, strings.Repeat("*", 15)},
		{[]string{"a😀bc"}, `a\ud83d\u0041bc`, `a\ud83d\u0041bc`},
		{[]string{"abcdef"}, "616263646566 616263646566", strings.Repeat("*", 12) + " " + strings.Repeat("*", 12)},
		{[]string{"jklmno"}, "6A6B6C6D6E6F", strings.Repeat("*", 12)},
		{[]string{"a-b_c d"}, "a%2525252Db%5fc+d", strings.Repeat("*", 17)},
		{[]string{"a-b_c d"}, "a%252525252Db%5fc+d", "a%252525252Db%5fc+d"},
	} {
		source := &arriving{list: strings.Split(tt.body, "")}
		got, err := io.ReadAll(newMaskedBody(newTrie(tt.secrets), source))
		noError(t, err)
		equal(t, tt.want, string(got), tt.body)
		equal(t, tt.want, model(tt.body, tt.secrets), "the model of "+tt.body)
	}
}

// Whatever is written, in one of the ways that are promised, is not in the body any
// more.
func TestMaskedBodyHasNoForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-~]{6,60}`).Draw(t, "secret")
		text := aWriting(t, secret)
		got, err := io.ReadAll(newMaskedBody(newTrie([]string{secret}), cut(t, "x=\""+text+"\"&y")))
		noError(t, err)
		equal(t, len(text)+6, len(got), "length")
		kept := strings.ReplaceAll(string(got[3:len(got)-3]), "*", "")
		// Up to four bytes stand around in base64, and each of them may be escaped.
		if len(kept) > 2*9*9 || strings.Count(string(got), "*") < len(secret) {
			t.Fatalf("%q of %q became %q", text, secret, got)
		}
	})
}

// Bytes are handed on as soon as no form can begin with them.
func TestMaskedBodyHoldsBackOnlyABeginning(t *testing.T) {
	for _, tt := range []struct{ secret, body, held string }{
		{"secret-1", "data: hello\n\n", ""},
		{"secret-1", "data: secret-1\n\n", ""},
		{"secret-1", "data: secret-1", ""},
		{"secret-1", "data: secret-", "secret-"},
		{"secret-1", "data: secret-\n\n", ""},
		{"secret-1", "data: s", "s"},
		{"secret-1", "data: sss", "s"},
		{"secret-1", "data: sesecre", "secre"},
		{"secret-1", "data: %73ecret%2", "%73ecret%2"},
		{"secret-1", "data: %73ecret%2d1", ""},
		{"secret-1", "data: %73ecret%2x", ""},
		{"secret-1", `data: \u0073ecret\u002`, `\u0073ecret\u002`},
		{"secret-1", `data: \u0073ecret\x`, ""},
		{"secret-1", "100%", "%"},
		{"secret-1", "100%\n", ""},
		{"secret-1", "100%25", "%25"},
		{"secret-1", "100%252525252525", ""},
		{"secret-1", `a\`, `\`},
		{"secret-1", `a\n`, ""},
		{"secret-1", `a\ud83d`, `\ud83d`},
		{"secret-1", `a\ud83d"`, ""},
		{"secret-1", "736563726574", "736563726574"}, // hex
		{"abcabc", "abcabc", "abc"},
	} {
		m := newMasker(newTrie([]string{tt.secret}))
		m.buf = []byte(tt.body)
		settled := m.scan(false)
		equal(t, tt.held, strings.ReplaceAll(tt.body[settled:], "*", ""), tt.body)
	}
}

// What is held back when the upstream fails may be a token without its end.
func TestMaskedBodyDropsWhatItHoldsWhenTheSourceFails(t *testing.T) {
	failure := errors.New("broken")
	b := newMaskedBody(newTrie([]string{"secret-1"}), &arriving{[]string{"a secret-1, sec", "ret-"}, failure})
	got, err := io.ReadAll(b)
	equal(t, "a ********, ", string(got), "body")
	equal(t, true, errors.Is(err, failure), "error")
	b = newMaskedBody(newTrie([]string{"secret-1"}), &arriving{[]string{"a secret-1, sec", "ret-"}, nil})
	got, err = io.ReadAll(b)
	equal(t, "a ********, secret-", string(got), "at the end a part of a token is left alone")
	noError(t, err)
}

// The time is in proportion to the body, whatever the body and the token are: that of
// a body that quotes nothing is the measure. The product of both lengths would be
// some hundred times as much. The memory is at most that of the longest way to write
// a form.
func TestMaskedBodyIsLinear(t *testing.T) {
	const long, length = 32 << 10, 64 << 10
	took := func(tr *trie, size int, body string) time.Duration {
		begin := time.Now()
		b := newMaskedBody(tr, readerOf(size, strings.NewReader(body)))
		n, err := io.Copy(io.Discard, struct{ io.Reader }{b})
		noError(t, err)
		equal(t, int64(len(body)), n, "length")
		if most := 2*9*2*long + bodyBuffer; len(b.memory) > most {
			t.Errorf("%d bytes of memory", len(b.memory))
		}
		return time.Since(begin)
	}
	for _, secret := range []string{strings.Repeat("a", long), strings.Repeat("a", long-1) + "b", "b" + strings.Repeat("a", long-1)} {
		tr := newTrie([]string{secret})
		for _, piece := range []string{"a", "%61", "%25252561", `\u0061`, secret[1:], secret, "%25", `a\u00`} {
			for _, size := range []int{1, 32 << 10} {
				body := strings.Repeat(piece, length/len(piece))
				isLinear := false
				for range 5 { // the machine may be busy
					measure := took(tr, 1, strings.Repeat("x", length))
					if isLinear = took(tr, size, body) < 50*measure; isLinear {
						break
					}
				}
				if !isLinear {
					t.Errorf("a token of %s..., a body of %.9s..., %d at once", secret[:3], piece, size)
				}
			}
		}
	}
}

// readerOf reads at most so many bytes at once.
func readerOf(size int, source io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) { return source.Read(p[:min(len(p), size)]) })
}

type readFunc func(p []byte) (int, error)

func (r readFunc) Read(p []byte) (int, error) { return r(p) }

// The tries of the tokens in use are kept, and take no more memory than is allowed.
func TestTrieCacheIsBounded(t *testing.T) {
	var c trieCache
	l := leaseOf(strings.Repeat("x", 40))
	first := c.get(sentTokens{l})
	equal(t, true, first == c.get(sentTokens{l}), "the same")
	equal(t, true, c.get(sentTokens{leaseOf("short")}) == nil, "too short a token")
	for i := range 60 {
		c.get(sentTokens{leaseOf(fmt.Sprint(i, strings.Repeat("abcdefgh", 1000)))})
	}
	equal(t, false, first == c.get(sentTokens{l}), "dropped")
	nodes := 0
	for _, kept := range c.tries {
		if kept != nil {
			nodes += len(kept.nodes)
		}
	}
	if nodes > maxTrieNodes || nodes > c.nodes {
		t.Errorf("%d nodes, %d counted", nodes, c.nodes)
	}
}

func FuzzMaskedBody(f *testing.F) {
	f.Add("secret-1", "abcabc", []byte("a secret-1 \\u0073ecret%2D1 c2VjcmV0LTE= abcabcabc"), 3)
	// The escape that is not complete begins with the end of a form.
	f.Add("     \\", "ababab", []byte("     \\\\u00"), 1)
	f.Add("a%41\\/\"b", "aaaaaa", []byte(`a%2541\\\/\"b %61%25252561`), 1)
	f.Fuzz(func(t *testing.T, one, two string, body []byte, size int) {
		if len(one) < minScrubbed || len(two) < minScrubbed || size < 1 || len(body) > 1<<12 || len(one)+len(two) > 1<<8 {
			return
		}
		secrets := []string{one, two}
		source := &arriving{}
		for piece := range slices.Chunk(body, size) {
			source.list = append(source.list, string(piece))
		}
		got, err := io.ReadAll(newMaskedBody(newTrie(secrets), source))
		noError(t, err)
		if want := model(string(body), secrets); string(got) != want {
			t.Fatalf("want %q\ngot  %q", want, got)
		}
	})
}

// What the search costs: MB/s of text without and with quotations of the token, and
// of text that is all escapes.
func BenchmarkMaskedBody(b *testing.B) {
	random := func(n int) string {
		text := make([]byte, n)
		for i, seed := 0, uint64(1); i < n; i++ {
			seed = seed*6364136223846793005 + 1442695040888963407
			text[i] = base64.URLEncoding.EncodeToString([]byte{byte(seed >> 40)})[0]
		}
		return string(text)
	}
	const document = `{"id": 12345, "name": "Mensch ärgere dich nicht", "url": "https://api.example.com/x?a=1&b=2", "list": [true, null, 0.25]}, `
	for _, tt := range []struct {
		name  string
		token string
		text  string
	}{
		{"JSON", random(200), document},
		{"JSON, token of 8 KB", random(8 << 10), document},
		{"JSON with escapes", random(200), strings.ReplaceAll(document, "/", `\/`)},
		{"base64", random(200), random(1000)},
		{"JWT alike", "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + random(600), `"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.x", `},
		{"percent", random(200), "%7B%22id%22%3A+12345%2C+%22name%22%3A%22x%22%7D&"},
	} {
		tr := newTrie([]string{tt.token})
		for _, body := range []struct{ name, text string }{
			{"", strings.Repeat(tt.text, 1<<20/len(tt.text))},
			{", quoted each 10 KB", strings.Repeat(strings.Repeat(tt.text, 10<<10/len(tt.text)+1)+tt.token, 1<<20/(10<<10+len(tt.token)))},
		} {
			b.Run(tt.name+body.name, func(b *testing.B) {
				b.SetBytes(int64(len(body.text)))
				for b.Loop() {
					_, _ = io.Copy(io.Discard, struct{ io.Reader }{newMaskedBody(tr, strings.NewReader(body.text))})
				}
			})
		}
	}
	for _, n := range []int{64, 200, 8 << 10} {
		b.Run(fmt.Sprintf("the trie of a token of %d bytes", n), func(b *testing.B) {
			secret := random(n)
			b.ReportAllocs()
			for b.Loop() {
				newTrie([]string{secret})
			}
		})
	}
}
