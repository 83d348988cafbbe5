package expression

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// morning is 2026-03-09 08:30:00 in Beijing.
var morning = time.Unix(1773016200, 123_000_000).UTC()

// The signatures of testdata/github.jwt and google.jwt are openssl's, over
// what was written by hand:
//
//	b64u() { base64 -w0 | tr '+/' '-_' | tr -d =; }
//	printf %s "$header.$claims" | openssl dgst -sha256 -sign rsa2048.pem | b64u

// TestVectors has what providers want, computed by others: openssl, coreutils,
// or the provider's document. The command stands with each.
func TestVectors(t *testing.T) {
	in := Input{
		Now: morning, UUID: "00000000-0000-4000-8000-000000000000",
		Names: map[string]any{"force": false, "refresh_token": "REFRESH"},
		Secret: map[string]string{
			"rsa_key": file(t, "rsa1024.base64"), "rsa_pem": file(t, "rsa1024.pem"), "key": file(t, "rsa2048.pem"),
			"password": "jd-password", "key_2": "SECRET", "client_id": "CLIENT", "user-name": "buyer",
			"certificate": file(t, "rsa2048.crt"),
		},
		Arguments: map[string]string{
			"type": "pdd.pop.auth.token.create", "client_id": "PDDID", "timestamp": "1773016200", "code": "CODE-1", "data_type": "JSON",
		},
	}
	for _, c := range []struct{ name, text, want string }{
		{
			// printf %s jd-password | md5sum | cut -c1-32 | tr -d '\n' |
			//   openssl pkeyutl -sign -inkey rsa1024.pem -pkeyopt rsa_padding_mode:pkcs1 | base64 -w0
			"JD VOP's password", `base64(rsa(secret.rsa_key, md5(secret.password)))`,
			"ARlFZYK++e3Q1I7EALuJBC62VvruaufpyS4kB69dzwZiZ+BfgrUJTYH0xmOGOtyYk4NYIb+w/cf3EjzKHTxc1UqqrdxCkrY7dPBgPkMkW4D+CU9xy27NrLynQxDvCq9hOM1PP/nK2AaSmq2OBo+qUhY/b67MyEPBGGDNciBiOu8=",
		},
		{
			"a key in PEM, PKCS#1", `md5(rsa(secret.rsa_pem, 'x')) == md5(rsa(secret.rsa_key, 'x'))`, "true",
		},
		{
			// printf %s 'SECRET2026-03-09 08:30:00CLIENTbuyer5f4dcc3b5aa765d61d8327deb882cf99access_tokenSECRET' | md5sum
			"JD's sign",
			`upper(md5(secret.key_2 + now('2006-01-02 15:04:05', 'Asia/Shanghai') + secret.client_id + secret['user-name'] + md5('password') + 'access_token' + secret.key_2))`,
			"441E0D0A4CE9EB5D6549BF361A16B5DF",
		},
		{
			// printf %s PDDSECRETclient_idPDDIDcodeCODE-1data_typeJSONtimestamp1773016200typepdd.pop.auth.token.createPDDSECRET | md5sum
			"Pinduoduo's sign", `upper(md5('PDDSECRET' + sorted_join(args, '', '') + 'PDDSECRET'))`, "467CD396779E871DBEDB76801C8CF3A0",
		},
		{
			// printf %s 'app_keyTBKEY...v2.0' | openssl dgst -md5 -hmac TBSECRET
			"Taobao's sign, sign_method hmac",
			`upper(hex(hmac('md5', 'TBSECRET', sorted_join({'v': '2.0', 'method': 'taobao.top.auth.token.create', 'code': 'TBCODE', 'app_key': 'TBKEY',
				'format': 'json', 'sign_method': 'hmac', 'timestamp': now('2006-01-02 15:04:05', 'Asia/Shanghai')}, '', ''))))`,
			"D3489B30927D65A2C73412721106AA79",
		},
		{
			// printf %s app_keyTBKEY | openssl dgst -sha256 -hmac TBSECRET
			"HMAC with SHA-256", `hex(hmac('sha256', 'TBSECRET', 'app_keyTBKEY'))`,
			"492891ea026e65556af6ad5bf021882b9787e64bde73f8f4a4e2552f2fe2d140",
		},
		{
			// RFC 4231 section 4.3
			"HMAC with SHA-512", `hex(hmac('sha512', b'Jefe', 'what do ya want for nothing?'))`,
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		},
		{
			// printf %s text | openssl dgst -sha1 -sign rsa1024.pem | base64 -w0
			"RSA of a digest, SHA-1", `base64(rsa('sha1', secret.rsa_key, 'text'))`,
			"QQOioE+KQTnSwg02/IXzv7aoQAILzan+C75grWGBtJsXnUC67oX29TpsF33eKN+Hw6aaBrgs8TelR7YH39LPDvLPX6ICA0DTHE4wNUGj6LvIn+vjxqpWWC4cKfqZiFm1OoYOyHzZTWy8iviWmcLOphITT2H5hFNCGX4FLIKu43w=",
		},
		{
			// printf %s text | openssl dgst -sha256 -sign rsa1024.pem | base64 -w0
			"RSA of a digest, SHA-256", `base64(rsa('sha256', secret.rsa_key, b'text'))`,
			"RRAPhcx5SgmW6DW/v2uu22VVvSADGGBB7lgIvIyW4eAq9UM9tEr1ZxcA+KscKH/iXz90jg0iZrl8iAdcL7wWMwMhZdVF20oC8pOvHflmwJa0V0LqT3aAZACyyR/NLlSlHkp83uQLKSGtInVk+SAG1CVHj6oVbstWyst9ZebhlNg=",
		},
		{
			// RFC 7523 section 2.1, as Google wants it; see above
			"Google's assertion, RS256",
			`jwt('RS256', secret.key, {'iss': 'robot@project.iam.gserviceaccount.com', 'scope': 'a b', 'aud': 'https://oauth2.googleapis.com/token',
				'iat': epoch_s(), 'exp': epoch_s() + 3600}, {'kid': 'key-1'})`,
			file(t, "google.jwt"),
		},
		{
			// the clock is put back a minute, as docs.github.com recommends; see above
			"a GitHub App's JWT, RS256", `jwt('RS256', secret.key, {'iat': epoch_s() - 60, 'exp': epoch_s() + 540, 'iss': '12345'})`,
			file(t, "github.jwt"),
		},
		{
			// printf %s "$header.$claims" | openssl dgst -sha256 -hmac k -binary | b64u
			"HS256", `jwt('HS256', 'k', {'sub': 'x'})`,
			"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0.ZQBNfODvZbWEZlqkYu9Hjz8pREszIDnoFi82AvAUXvI",
		},
		// FIPS 180-4 and RFC 1321: the digests of "abc"
		{"MD5", `md5('abc')`, "900150983cd24fb0d6963f7d28e17f72"},
		{"SHA-1", `sha1(b'abc')`, "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"SHA-256", `sha256('abc')`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"the bytes of a digest", `base64(unhex(md5('abc')))`, "kAFQmDzST7DWlj99KOF/cg=="},
		{"there and back", `base64(unbase64('aGk=')) + hex('hi') + lower('ÄB') + upper('ß')`, "aGk=6869äbß"},

		{
			// python3: urllib.parse.quote(..., safe='')
			"percent-encoding", `urlencode("a b+c/d?e=f&g~h-i_j.k*l'(m)!n%ü中:,@")`,
			"a%20b%2Bc%2Fd%3Fe%3Df%26g~h-i_j.k%2Al%27%28m%29%21n%25%C3%BC%E4%B8%AD%3A%2C%40",
		},
		{
			// developer.mozilla.org, encodeURIComponent: what Aliyun changes in it
			"Aliyun's percent-encoding", `replace(replace(urlencode('a+b *~'), '+', '%20'), '%7E', '~')`, "a%2Bb%20%2A~",
		},
		{"nothing to replace", `replace('abc', 'x', 'y') + replace('aaa', 'aa', 'b') + replace('a-b-c', '-', '')`, "abcbaabc"},
		{
			// the check value of CRC-32/ISO-HDLC; printf %s jd-password | gzip -c | tail -c8 | head -c4 | od -An -tu4
			"CRC-32", `crc32('123456789') + ' ' + crc32(secret.password) + ' ' + crc32(b'')`, "3421780262 581838610 0",
		},
		{
			// python3: json.dumps(..., sort_keys=True, separators=(',', ':'), ensure_ascii=False)
			"JSON", `json({'b': [1, 2.5, true, null, '<&>ü'], 'a': {'y': 9223372036854775807, 'x': '"'}})`,
			`{"a":{"x":"\"","y":9223372036854775807},"b":[1,2.5,true,null,"<&>ü"]}`,
		},
		{
			"JSON of all that there is", `json([]) + json({}) + json('a"b') + json(-5) + json(true) + json([18446744073709551615u, 0.1, 1e21])`,
			`[]{}"a\"b"-5true[18446744073709551615,0.1,1e+21]`,
		},
		{
			"JSON of the arguments", `json(args)`,
			`{"client_id":"PDDID","code":"CODE-1","data_type":"JSON","timestamp":"1773016200","type":"pdd.pop.auth.token.create"}`,
		},
		{
			// printf 'plain text of the request' | openssl enc -aes-128-cbc -K 0001...0f -iv 1011...1f | base64 -w0
			"AES-128-CBC", `base64(aes('cbc', unhex('000102030405060708090a0b0c0d0e0f'), unhex('101112131415161718191a1b1c1d1e1f'), 'plain text of the request'))`,
			"PzYLGXguiOmDYd3JpoSVgauYruEEBL5uuBlVZedhFXA=",
		},
		{
			// the same with -aes-256-cbc and a text of one block, behind which a whole block is padding
			"AES-256-CBC", `hex(aes('cbc', unhex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'), unhex('101112131415161718191a1b1c1d1e1f'), '0123456789abcdef'))`,
			"879adb94b99e35f6f6d9680548bb71d1a509dfb8c1d49c21bd828cbaa86365eb",
		},
		{
			// test case 1 of McGrew and Viega, The Galois/Counter Mode of Operation, appendix B
			"AES-128-GCM of nothing", `hex(aes('gcm', unhex('00000000000000000000000000000000'), unhex('000000000000000000000000'), ''))`,
			"58e2fccefa7e3061367f1d57a4e7455a",
		},
		{
			// test case 3 of the same
			"AES-128-GCM", `hex(aes('gcm', unhex('feffe9928665731c6d6a8f9467308308'), unhex('cafebabefacedbaddecaf888'),
				unhex('d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255')))`,
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985" +
				"4d5c2af327cd64a62cf35abd2ba6fab4",
		},
		{
			// openssl x509 -in rsa2048.crt -outform DER | openssl dgst -sha256 -binary | b64u
			"x5t#S256", `x5t_s256(secret.certificate)`, "22j0hHmDt6KrpF1oBEQ5ci90wyUmOIoUOc8akC1V47Y",
		},

		{"seconds", `epoch_s()`, "1773016200"},
		{"milliseconds", `epoch_ms()`, "1773016200123"},
		{"another zone", `now('20060102150405', 'UTC')`, "20260309003000"},
		{"milliseconds in a layout", `now('2006-01-02T15:04:05.000Z07:00', 'Asia/Shanghai')`, "2026-03-09T08:30:00.123+08:00"},
		{"one UUID", `uuid() + uuid() == uuid() + '00000000-0000-4000-8000-000000000000'`, "true"},
		{"names", `(force ? 'f' : 'n') + refresh_token`, "nREFRESH"},
		{"an argument", `args.code + args["client_id"] + string(size(args)) + string('x' in args)`, "CODE-1PDDID5false"},
		{"a map with separators", `sorted_join({'b': 2, 'a': true, 'Z': 'x', '': ''}, '=', '&')`, "=&Z=x&a=true&b=2"},
		{"arithmetic", `epoch_s() / 60 * 60 - epoch_s() % 7 + -1`, "1773016195"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := eval(t, c.text, in)
			if err != nil || got != c.want {
				t.Errorf("%s\n got %q, %v\nwant %q", c.text, got, err, c.want)
			}
		})
	}
}

// eval compiles and computes an expression.
func eval(t *testing.T, text string, in Input) (string, error) {
	t.Helper()
	e, err := Compile(text, []string{Args, "force", "refresh_token"})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e.Eval(in)
}

func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

// ES256 has another signature each time (RFC 7518 section 3.4): r and s are
// verified by crypto/ecdsa.
func TestES256(t *testing.T) {
	text := file(t, "p256.pem")
	token, err := eval(t, `jwt('ES256', secret.key, {'iss': secret.team, 'list': [1, 2.5, null, true, {'a': 'b'}]}, {'kid': 'K', 'typ': 'secevent+jwt'})`,
		Input{Secret: map[string]string{"key": text, "team": "T"}})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	if got, want := decode(t, parts[0]), `{"alg":"ES256","kid":"K","typ":"secevent+jwt"}`; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got, want := decode(t, parts[1]), `{"iss":"T","list":[1,2.5,null,true,{"a":"b"}]}`; got != want {
		t.Errorf("claims %s, want %s", got, want)
	}
	_, rest := pem.Decode([]byte(text)) // the parameters of the curve
	block, _ := pem.Decode(rest)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	digest, signature := sha256.Sum256([]byte(parts[0]+"."+parts[1])), []byte(decode(t, parts[2]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if len(signature) != 64 || !ecdsa.Verify(&key.PublicKey, digest[:], r, s) {
		t.Error("the signature does not verify")
	}
}

func TestPS256(t *testing.T) {
	text := file(t, "rsa2048.pem")
	token, err := eval(t, `jwt('PS256', secret.key, {'iss': 'x'})`, Input{Secret: map[string]string{"key": text}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsaKey(text)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(&key.PublicKey)
	if err != nil || !json.Valid(payload) || string(payload) != `{"iss":"x"}` {
		t.Errorf("payload %s, %v", payload, err)
	}
}

func decode(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A key is accepted in every form in which people have it.
func TestKeyForms(t *testing.T) {
	pkcs8 := file(t, "rsa2048.pem")
	want, err := rsaKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(pkcs8, "-----BEGIN PRIVATE KEY-----"), "-----END PRIVATE KEY-----"), "\n", "")
	for name, text := range map[string]string{
		"CRLF":              strings.ReplaceAll(pkcs8, "\n", "\r\n"),
		"\\n written out":   strings.ReplaceAll(pkcs8, "\n", `\n`),
		"on one line":       strings.ReplaceAll(pkcs8, "\n", " "),
		"base64 alone":      base,
		"base64 with lines": base[:64] + "\n" + base[64:] + "\n",
		"text around":       "a key\n" + pkcs8 + "\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
	} {
		if got, err := rsaKey(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
