package expression

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
)

// canary is in every value of these tests, and in no error.
const canary = "CANARY-0123456789"

// TestEvalRefuses has every way in which values do not fit, and what is said:
// all of it, so that no part of a value is in it.
func TestEvalRefuses(t *testing.T) {
	const misfit = "an operator or a function does not take the values"
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + canary + "\n-----END ENCRYPTED PRIVATE KEY-----"
	legacy := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + canary + "\n-----END RSA PRIVATE KEY-----"
	for _, c := range []struct{ text, want string }{
		{`secret.absent`, misfit},
		{`args.absent`, misfit},
		{`string(int(secret.canary))`, misfit},
		{`string(b'\xff')`, misfit},
		{`string(1 / (epoch_s() - epoch_s()))`, misfit},
		{`string(9223372036854775807 + size('x'))`, misfit},
		{`{'a': 'b'}[secret.canary]`, misfit},

		{`hex(rsa(secret.canary, 'x'))`, errKey.Error()},
		{`hex(rsa(secret.broken, 'x'))`, errKey.Error()},
		{`hex(rsa(secret.long, 'x'))`, errKey.Error()},
		{`hex(rsa(secret.certificate, 'x'))`, errKey.Error()},
		{`hex(rsa(secret.encrypted, 'x'))`, errEncrypted.Error()},
		{`hex(rsa(secret.legacy, 'x'))`, errEncrypted.Error()},
		{`hex(rsa(secret.p256, 'x'))`, errNotRSA.Error()},
		{`hex(rsa(secret.small, 'x'))`, errNotRSA.Error()},
		{`hex(rsa(secret.large, 'x'))`, errNotRSA.Error()},
		{`hex(rsa(secret.rsa, secret.long))`, "the text is too long for the RSA key"},
		{`hex(rsa('sha512', secret.small, 'x'))`, errNotRSA.Error()},
		{`jwt('ES256', secret.rsa, {})`, errNotP256.Error()},
		{`jwt('ES256', secret.p384, {})`, errNotP256.Error()},
		{`jwt('HS256', '', {})`, "the key is empty"},
		{`jwt('HS256', 'k', {'x': b'y'})`, "a list or a map takes texts, numbers, booleans, null, lists and maps"},
		{`jwt('HS256', 'k', {'x': {1: 'y'}})`, "the names of a map must be texts"},
		{`jwt('HS256', 'k', {}, {'alg': 'none'})`, "alg, b64 and crit of a JWT's header are set by jwt"},
		{`sorted_join({'a': [1]}, '', '')`, "sorted_join takes texts, whole numbers and booleans"},
		{`hex(unhex(secret.canary))`, "the text of unhex is not hexadecimal"},
		{`hex(unbase64(secret.canary))`, "the text of unbase64 is not base64"},

		{`replace(secret.canary, secret.empty, 'x')`, "replace cannot replace an empty text"},
		{`json([b'x'])`, "a list or a map takes texts, numbers, booleans, null, lists and maps"},
		{`hex(aes('cbc', secret.canary, '0123456789abcdef', 'x'))`, errAESKey.Error()},
		{`hex(aes('cbc', '0123456789abcdef', secret.canary, 'x'))`, "the iv of aes in mode cbc must have 16 bytes"},
		{`hex(aes('gcm', '0123456789abcdef', secret.canary, 'x'))`, "the iv of aes in mode gcm must have 12 bytes"},
		{`hex(rsa_encrypt('x', secret.canary))`, errPublicKey.Error()},
		{`hex(rsa_encrypt('x', secret.rsa))`, errPublicKey.Error()},
		{`hex(rsa_encrypt('x', secret.long))`, errPublicKey.Error()},
		{`hex(rsa_encrypt('x', secret.certificate))`, errPublicKey.Error()},
		{`hex(rsa_encrypt('x', secret.p256_public))`, errNotRSAPublic.Error()},
		{`hex(rsa_encrypt('x', secret.small_public))`, errNotRSAPublic.Error()},
		{`hex(rsa_encrypt(secret.long, secret.public))`, "the text is too long for the RSA key"},
		{`x5t_s256(secret.canary)`, errCertificate.Error()},
		{`x5t_s256(secret.public)`, errCertificate.Error()},
		{`x5t_s256(secret.certificate)`, errCertificate.Error()},

		{`secret.long + secret.long`, errTooLarge.Error()},
		{`replace(secret.long, 'x', 'yy')`, errTooLarge.Error()},
		{`replace(secret.long, 'x', secret.long)`, errTooLarge.Error()},
		{`urlencode(secret.long + ' ')`, errTooLarge.Error()},
		{`md5(json([` + strings.Repeat("secret.long,", 20) + `'x']))`, errTooLarge.Error()},
		{`hex(secret.long)`, errTooLarge.Error()},
		{`md5(hex(hex(hex(hex(hex(hex(hex(hex(secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary
			+ secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary + secret.canary)))))))))`, errTooLarge.Error()},
		{`sorted_join({'a': secret.long, 'b': 'x'}, '', '')`, errTooLarge.Error()},
		{strings.Repeat("secret.long+", 30) + "secret.long", "it costs too much"},
		{strings.Repeat("md5(secret.long+secret.long)+", 44) + "secret.canary", "it costs too much"},
	} {
		got, err := eval(t, c.text, Input{Secret: map[string]string{
			"empty": "", "public": file(t, "rsa2048.pub.pem"), "p256_public": publicOf(t, "p256.pem"), "small_public": publicOf(t, "rsa512.pem"),
			"canary": canary, "long": strings.Repeat("x", maxResult-1), "broken": "-----BEGIN PRIVATE KEY-----\n" + canary,
			"certificate": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "encrypted": encrypted, "legacy": legacy,
			"p256": file(t, "p256.pem"), "p384": file(t, "p384.pem"), "small": file(t, "rsa512.pem"), "large": file(t, "rsa4608.pem"), "rsa": file(t, "rsa1024.pem"),
		}})
		if err == nil || err.Error() != c.want || got != "" {
			t.Errorf("%.80s:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// publicOf is the public part of a key, in base64.
func publicOf(t testing.TB, name string) string {
	t.Helper()
	key, err := privateKey(file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// FuzzExpression: no expression and no value makes it panic, no result is
// longer than 64 KiB, and no error tells a value.
func FuzzExpression(f *testing.F) {
	key := file(f, "rsa1024.pem")
	for _, text := range []string{
		`upper(md5(secret.x + now('20060102150405', 'Asia/Shanghai')))`, `base64(rsa(secret.k, md5(secret.x)))`,
		`jwt('HS256', secret.x, {'iat': epoch_s(), 'x': [args, {'y': null}]}, {'kid': 'k'})`, `sorted_join(args, '=', '&')`,
		`hex(hmac('md5', unbase64(secret.x), b'\xff'))`, `force ? secret["x"] : uuid()`, `int(args.x) / 0 > 1 || "x" in args`,
		`string(size(unhex(secret.x))) + lower(sha1(sha256(args.x)))`, `secret`, "'\n", `{1: 2}[3]`, `-9223372036854775808 * -1`,
		`[secret.x, {'a': json(args)}, 1.5, null]`, `replace(urlencode(secret.x), args.x, crc32(secret.x)) + random_hex(8)`,
		`base64(aes('gcm', secret.k, 'abcdefghijkl', secret.x))`, `base64(rsa_encrypt(secret.x, secret.k, 'oaep'))`, `x5t_s256(secret.x)`,
	} {
		f.Add(text, canary)
		f.Add(text, key)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		e, err := CompileJSON(text, []string{Args, "force"})
		if err != nil {
			if e != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
			return
		}
		secret := make(map[string]string)
		for _, name := range e.Fields() {
			secret[name] = value
		}
		got, err := e.Eval(Input{
			Secret: secret, Names: map[string]any{"force": true}, Arguments: map[string]string{"x": value}, Now: morning, UUID: "u",
		})
		if len(got) > maxResult || err != nil && (got != "" || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "internal")) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	benchmark(b, `upper(md5(secret.x + now('20060102150405', 'Asia/Shanghai') + sorted_join(args, '', '') + secret.x))`)
}

func BenchmarkAssertion(b *testing.B) {
	benchmark(b, `jwt('RS256', secret.k, {'iss': secret.x, 'iat': epoch_s(), 'exp': epoch_s() + 3600})`)
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(`upper(md5(secret.x + now('20060102150405', 'Asia/Shanghai')))`, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmark(b *testing.B, text string) {
	b.Helper()
	e, err := Compile(text, []string{Args})
	if err != nil {
		b.Fatal(err)
	}
	in := Input{
		Secret: map[string]string{"x": "SECRET", "k": file(b, "rsa2048.pem")}, Now: morning,
		Arguments: map[string]string{"type": "pdd.pop.auth.token.create", "client_id": "PDDID", "code": "CODE"},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Eval(in); err != nil {
			b.Fatal(err)
		}
	}
}
