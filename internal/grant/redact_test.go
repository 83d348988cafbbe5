package grant

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A password that a person chose may be short, and a provider may quote it.
func TestShortPasswordsAreHidden(t *testing.T) {
	r := newRedactor([]string{"1234", "密码", "abc"})
	if got := r.text("wrong password 1234 or 密码, or abc"); got != "wrong password ****************** or ******************, or abc" {
		t.Errorf("got %q", got)
	}
}

// TestQuotedSecretsAreMasked: whatever is done to a secret before it is
// quoted, it is masked. The mask came first once, and the characters that
// nobody sees were removed behind it.
func TestQuotedSecretsAreMasked(t *testing.T) {
	const secret = "Zq7/pX+secret 9wKe"
	forms := map[string]string{"twice": secret + " and " + secret}
	for name, encode := range encoders {
		forms[name] = encode(secret, rand.New(rand.NewPCG(1, 2)))
	}
	for name, hidden := range map[string]string{
		"NUL": "\x00", "zero width space": "\u200b", "replacement": "\ufffd", "soft hyphen": "\u00ad", "line break": "\r\n",
		"grapheme joiner": "\u034f", "Hangul filler": "\u3164", "selector": "\ufe0f", "accent": "\u0301", "broken UTF-8": "\xff", "tag": "\U000e0041",
	} {
		forms[name] = secret[:8] + hidden + secret[8:]
		forms[name+" everywhere"] = strings.Join(strings.Split(secret, ""), hidden)
		forms[name+" in base64"] = encoders["base64"](forms[name], nil)
		forms[name+" inside base64"] = encoders["base64"](secret, nil)[:9] + hidden + encoders["base64"](secret, nil)[9:]
	}
	for form, quoted := range forms {
		t.Run(form, func(t *testing.T) {
			words := "the credential " + quoted + " is wrong"
			got := newRedactor([]string{secret, "other-value"}).text(words)
			if found := disclosed(got, secret); found != "" {
				t.Fatalf("%q shows the secret as %q", got, found)
			}
			if !strings.Contains(got, realm.Mask) {
				t.Errorf("%q is not masked", got)
			}
		})
	}
}

// TestWordsThatQuoteNothingStay: a search in every form must not find what is
// not there.
func TestWordsThatQuoteNothingStay(t *testing.T) {
	refusals, dead := refusalsOf(t)
	r := newRedactor([]string{"wx0123456789abcdef", "Zq7/pX+secret 9wKe", "1234", "https://tokens.example/callback", strings.Repeat("k", 4000)})
	for _, c := range append(refusals, dead...) {
		for _, words := range []string{c.Code, c.Message} {
			if got := r.text(words); got != words {
				t.Errorf("%q became %q", words, got)
			}
		}
	}
}

// TestLongValues: what is shown of a long value is nothing, wherever its end
// is.
func TestLongValues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	long := "-----BEGIN PRIVATE KEY-----\n"
	for range 16 << 10 / 64 {
		long += randomText64(random) + "\n"
	}
	r := newRedactor([]string{long})
	for _, encode := range encoders {
		got := r.text("no key: " + encode(long, random))
		if before, ok := strings.CutSuffix(got, realm.Mask); !ok || len(before) > len("no key: ")+2 { // ":" in front of it, in base64
			t.Errorf("%q", got)
		}
	}
	if got := r.text(strings.Repeat("words ", 5000) + long); !strings.HasPrefix(got, "words words") || len([]rune(got)) != maxWords {
		t.Errorf("%q", got)
	}
}

func randomText64(random *rand.Rand) string {
	b := make([]byte, 48)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return encoders["base64"](string(b), nil)
}

// TestSearchEnds: no words make the search take long.
func TestSearchEnds(t *testing.T) {
	nested := "x"
	for len(nested) < maxRead/2 {
		nested = encoders["base64"](nested, nil)
	}
	for name, words := range map[string]string{
		"every escape":  strings.Repeat(`%25\\u005c&#x26;=3D0x61 `, maxRead/24),
		"percent signs": strings.Repeat("%25", maxRead/3),
		"nested base64": nested,
		"backslashes":   strings.Repeat(`\`, maxRead),
		"letters":       strings.Repeat("QUJDREVGRw", maxRead/10),
	} {
		var list []string
		for i := range 40 {
			list = append(list, strings.Repeat(string(rune('a'+i%26)), 5+i))
		}
		began := time.Now()
		got := newRedactor(list).text(words)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if len([]rune(got)) > maxWords {
			t.Errorf("%s: %d characters", name, len(got))
		}
	}
	members := make(map[string]int)
	for n := range 60 {
		members[strconv.Itoa(n)+strings.Repeat(`%25\\u005c&#x26;=3D0x61 `, maxRead/24)] = n
	}
	body, _ := json.Marshal(members)
	began := time.Now()
	if _, failed := fetchFrom(t, `{"url":"@/t?s={secret.appsecret}","token_path":"t"}`, answering(200, "", string(body))); failed == nil || failed.Kind == KindTooLarge || time.Since(began) > 5*time.Second {
		t.Errorf("many members: %v after %v", failed, time.Since(began))
	}
	got := newRedactor([]string{realm.Mask[:5]}).text("stars: " + realm.Mask[:5])
	if got != realm.Mask {
		t.Errorf("a value that the mask holds: %q", got)
	}
}

// TestRefusalsShowNoSecret: the same through an answer, in each of its members
// that are shown, with what JSON itself can hide.
func TestRefusalsShowNoSecret(t *testing.T) {
	const config = `{"url":"@/t?s={secret.appsecret}","token_path":"t"}`
	for _, hidden := range []string{`\u0000`, `\u200b`, `\ufffd`, `\u00ad`, `\n`} {
		quoted := "SECRET" + hidden + "-a/b+c"
		for _, body := range []string{
			`{"errcode":1,"errmsg":"bad ` + quoted + `"}`, `{"error":"` + quoted + `"}`, `{"x":{"message":"` + quoted + `","err":7}}`, `{"` + quoted + `":1}`,
		} {
			_, failed := fetchFrom(t, config, answering(400, "", body))
			if found := disclosed(failed.Error()+failed.ProviderCode+failed.ProviderMessage, "SECRET-a/b+c"); found != "" {
				t.Errorf("%s: %q", body, failed)
			}
		}
	}
}

// FuzzRedact: a secret is quoted in up to three encodings, one in the other,
// and is found in what is shown by none of their decoders.
func FuzzRedact(f *testing.F) {
	f.Add("Zq7/pX+secret 9wKe", uint64(1))
	f.Add("密码密码密码", uint64(2))
	f.Add(`\u0041%41&amp;=41"quoted"`, uint64(3))
	f.Add("0123456789abcdef", uint64(4))
	f.Fuzz(func(t *testing.T, secret string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		if random.IntN(2) == 0 {
			secret = randomSecret(random)
		}
		if plain := plainest(secret); len(plain) < 6 || len(secret) > 200 || strings.Contains(plainest(realm.Mask), plain) || strings.ToValidUTF8(secret, "") != secret {
			return
		}
		quoted, chain := secret, ""
		for range random.IntN(4) {
			name := encoderNames[random.IntN(len(encoderNames))]
			quoted, chain = encoders[name](quoted, random), chain+" "+name
		}
		if disclosed(quoted, secret) == "" {
			return // the chain broke the secret
		}
		words := contexts[random.IntN(len(contexts))]
		words = strings.Replace(words, "@", quoted, 1)
		got := newRedactor([]string{"another", secret, "appid-1"}).text(words)
		if found := disclosed(got, secret); found != "" {
			t.Errorf("%q (%s of %q) became %q, which shows %q", words, chain, secret, got, found)
		}
		if again := newRedactor([]string{secret}).text(got); again != got && got != realm.Mask {
			t.Errorf("%q is masked once more: %q", got, again)
		}
	})
}

// contexts are what a provider says around a value.
var contexts = []string{
	"@", "invalid client_secret @", "secret=@&grant_type=x", `{"client_secret":"@"}`, "@ is wrong", "https://a.example/t?secret=@#x",
	"app appid-1 with @, request id 4f2c", "密钥@错误", "Basic @", "a@b", "x%@", `\@`, "100% @",
}

func randomSecret(random *rand.Rand) string {
	alphabets := []string{
		"0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		"!\"#$%&'()*+,-./0:;<=>?@[\\]^_`a{|}~ bC", "äöüß密码ключ😀e\u0301ﬁ",
	}
	alphabet := []rune(alphabets[random.IntN(len(alphabets))])
	secret := make([]rune, 8+random.IntN(40))
	for i := range secret {
		secret[i] = alphabet[random.IntN(len(alphabet))]
	}
	return string(secret)
}

func BenchmarkRedact(b *testing.B) {
	r := newRedactor([]string{"wx0123456789abcdef", "Zq7/pX+secret 9wKe", strings.Repeat("k", 4000)})
	words, _ := json.Marshal(map[string]any{"errcode": 40001, "errmsg": "invalid credential, access_token is invalid or not latest, rid: 65a1f2b3-1c2d3e4f-5a6b7c8d"})
	b.ReportAllocs()
	for b.Loop() {
		r.text(string(words))
	}
}
