package expression

import (
	"slices"
	"strings"
	"testing"
)

// TestCompileRefuses has an expression for every way in which one is wrong,
// and a part of what is said about it.
func TestCompileRefuses(t *testing.T) {
	signature := "string(size(rsa(secret.k, 'x')))"
	for _, c := range []struct{ text, want string }{
		{` `, "Syntax error"},
		{`md5(`, "Syntax error"},
		{`md5(secret.x))`, "line 1, column 14: Syntax error"},
		{"'a' +\n foo", "foo is not known here: secret.x, args, force, refresh_token are"},
		{`code`, "code is not known here"},
		{`token`, "token is not known here"},
		{`int`, "int is not known here"},
		{`env.PATH`, "env is not known here"},
		{`google.protobuf.Timestamp{seconds: 1} == null ? 'a' : 'b'`, "a message has no meaning here"},
		{`secret`, "secret must be followed by a field that is written out"},
		{`secret[secret.x]`, "secret must be followed by a field that is written out"},
		{`string(size(secret))`, "secret must be followed by"},
		{`string(secret == args)`, "secret must be followed by"},

		{`md6('x')`, "undeclared reference to 'md6'"},
		{`'x'.md5()`, "found no matching overload for 'md5'"},
		{`md5(5)`, "found no matching overload for 'md5' applied to '(int)'"},
		{`md5('a', 'b')`, "found no matching overload"},
		{`string('a'.matches('(a+)+'))`, "undeclared reference to 'matches'"},
		{`string([1, 2].map(x, x).size())`, "x is not known here"},
		{`string([1].all(x, x > 0))`, "x is not known here"},
		{`string(has(args.x))`, "undeclared reference to 'has'"},
		{`string(timestamp('2026-01-01T00:00:00Z'))`, "undeclared reference to 'timestamp'"},
		{`string(type('x') == type('y'))`, "undeclared reference to 'type'"},
		{`string(dyn('x'))`, "undeclared reference to 'dyn'"},
		{`[1] + [2] == [3] ? 'a' : 'b'`, "found no matching overload for '_+_'"},

		{`secret.x == 'a' && 1`, "line 1, column 20: expected type 'bool' but found 'int'"},
		{`hmac('sha256', 'k', 'x')`, "gives bytes: hex() or base64() makes a text of them"},
		{`{'a': 'b'}`, "gives a list or a map, which stands in a JSON body only: json() makes a text of it"},
		{`[]`, "gives a list or a map"},
		{`args`, "gives a list or a map"},
		{`1.5`, "gives double"},
		{`{'a': 1, 'b': 'x'}['a']`, "gives dyn"},
		{`null`, "gives null"},

		{`now()`, "undeclared reference to 'now'"},
		{`now('2006')`, "undeclared reference to 'now'"},
		{`now(secret.layout, 'UTC')`, "the layout and the zone of now must be written out"},
		{`now('2006', secret.zone)`, "the layout and the zone of now must be written out"},
		{`now('yyyy-MM-dd HH:mm:ss', 'Asia/Shanghai')`, "holds no part of a time: it is written with Go's reference time"},
		{`now('2006', 'Asia/Nowhere')`, `the zone "Asia/Nowhere" of now is not known`},
		{`now('2006', '../../etc/passwd')`, "is not known"},
		{`now('2006', '/etc/localtime')`, "is not known"},
		{`now('2006', 'Local')`, "must be a name such as UTC or Asia/Shanghai"},
		{`now('2006', '')`, "must be a name such as UTC or Asia/Shanghai"},
		{`string(epoch_s(1))`, "undeclared reference to 'epoch_s'"},

		{`hex(hmac('sha3', 'k', 'x'))`, "the first argument of hmac must be one of 'md5', 'sha1', 'sha256', 'sha512', written out"},
		{`hex(hmac(secret.alg, 'k', 'x'))`, "the first argument of hmac must be one of"},
		{`hex(rsa_encrypt('x', secret.k, 'pkcs1'))`, "the third argument of rsa_encrypt must be one of 'oaep', 'oaep_sha256', written out"},
		{`hex(aes('ecb', secret.k, '', 'x'))`, "the first argument of aes must be one of 'cbc', 'gcm', written out"},
		{`random_hex(secret.n)`, "the number of bytes of random_hex must be written out, 1 to 64"},
		{`random_hex(0)`, "the number of bytes of random_hex must be written out, 1 to 64"},
		{`random_hex(65)`, "the number of bytes of random_hex must be written out, 1 to 64"},
		{`random_hex('8')`, "the number of bytes of random_hex must be written out, 1 to 64"},
		{`random_hex()`, "undeclared reference to 'random_hex'"},
		{`json({1: 'x'})`, "found no matching overload for 'json'"},
		{`json(b'x')`, "found no matching overload for 'json'"},
		{`replace('a', 'b')`, "found no matching overload for 'replace'"},

		{`hex(rsa('SHA256', secret.k, 'x'))`, "the first argument of rsa must be one of"},
		{`jwt('none', 'k', {})`, "the first argument of jwt must be one of 'RS256', 'PS256', 'ES256', 'HS256'"},
		{`jwt('RS256', 'k', 'claims')`, "found no matching overload for 'jwt'"},
		{`sorted_join(args, '=')`, "found no matching overload for 'sorted_join'"},
		{`sorted_join({1: 'a'}, '', '')`, "found no matching overload for 'sorted_join'"},

		{strings.Repeat("(", 200) + "'x'" + strings.Repeat(")", 200), "recursion limit exceeded"},
		{strings.Repeat("hex(", 200) + "'x'" + strings.Repeat(")", 200), "recursion limit exceeded"},
		{"'" + strings.Repeat("x", maxLength) + "'", "4096"},
		{"string(1" + strings.Repeat("+1", 200) + ")", "max recursion depth exceeded"},
		{"string(size({" + strings.Repeat("'x':1,", 600) + "}))", "limit"},
		{strings.Repeat(signature+"+", 5) + signature, "costs too much"},
		{"secret.a" + strings.Repeat("+secret.a", 90), "costs too much"},
	} {
		e, err := Compile(c.text, []string{Args, "force", "refresh_token"})
		switch {
		case err == nil:
			t.Errorf("%.80s: no error", c.text)
		case e != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%.80s:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestReads(t *testing.T) {
	e, err := Compile(`(force ? secret.a : secret["b-c"]) + jwt('HS256', secret.k, {'x': [secret.d], secret.e: 1}) + args.p + args['q'] + string('r' in args)`,
		[]string{Args, "force", "refresh_token"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Fields(), []string{"a", "b-c", "k", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
	if got, want := e.Arguments(), []string{"p", "q"}; !slices.Equal(got, want) || !e.ReadsArguments() {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if !e.Reads("force") || e.Reads("refresh_token") {
		t.Error("the names are not told apart")
	}
}

// TestReadsAnswer: what is read of the answer is named by paths, and where there is
// no answer, or nothing has arguments, these names are not known.
func TestReadsAnswer(t *testing.T) {
	known := []string{"token", Answer, "path"}
	e, err := Compile(`answer.a + answer.user.id.x + (answer["user.name"] == "" ? secret.s : md5(answer.user.id.x + token))`, known)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Compact(slices.Sorted(slices.Values(e.Answers()))), []string{"a", "user.id.x", "user.name"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if !slices.Equal(e.Names(), []string{"token"}) || !slices.Equal(e.Fields(), []string{"s"}) || e.ReadsArguments() {
		t.Errorf("names %q, fields %q", e.Names(), e.Fields())
	}
	got, err := e.Eval(Input{Answer: map[string]string{"a": "A-", "user.id.x": "7", "user.name": ""}, Secret: map[string]string{"s": "S"}, Names: map[string]any{"token": "T"}})
	if err != nil || got != "A-7S" {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		"code":                    "code is not known here: secret.x, token, answer.x, path are",
		"args.x":                  "args is not known here",
		"string('x' in args)":     "args is not known here",
		"answer":                  "answer must be followed by a path that is written out",
		"answer[token]":           "answer must be followed by a path that is written out",
		"string(size(answer))":    "answer must be followed by a path that is written out",
		"answer.x[0]":             "found no matching overload",
		"answer.x['y']":           "found no matching overload",
		"string(answer.x == 1)":   "found no matching overload",
		"string('x' in answer)":   "answer must be followed by a path that is written out",
		"answer.x.matches('(a)')": "undeclared reference to 'matches'",
	} {
		if _, err := Compile(text, known); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := Compile("answer.x.y", []string{Args}); err == nil || !strings.HasPrefix(err.Error(), "answer is not known here: secret.x, args are") {
		t.Errorf("where there is no answer: %v", err)
	}
}

// TestVaries: an expression whose value is another one each time is told from one
// that gives the same as long as it is computed from the same.
func TestVaries(t *testing.T) {
	for text, want := range map[string]bool{
		"upper(md5(secret.a)) + token":                    false,
		"hex(rsa('sha256', secret.a, token))":             false,
		"jwt('RS256', secret.a, {'t': token})":            false,
		"jwt('HS256', secret.a, {'t': token})":            false,
		"hex(aes('cbc', secret.a, secret.b, token))":      false,
		"x5t_s256(secret.a)":                              false,
		"now('2006', 'UTC')":                              true,
		"string(epoch_s())":                               true,
		"token + string(epoch_ms() / 1000)":               true,
		"uuid()":                                          true,
		"random_hex(8)":                                   true,
		"token == 'x' ? md5(random_hex(1)) : 'a'":         true,
		"hex(rsa_encrypt(token, secret.a))":               true,
		"hex(rsa_encrypt(token, secret.a, 'oaep'))":       true,
		"jwt('ES256', secret.a, {'t': token})":            true,
		"md5(jwt('PS256', secret.a, {'t': token}, {}))":   true,
		"jwt('RS256', secret.a, {'jti': random_hex(16)})": true,
	} {
		e, err := Compile(text, []string{"token"})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if e.Varies() != want {
			t.Errorf("%s: varies: %v", text, !want)
		}
	}
}

// TestJudged: what decides something is told from what is sent alone.
func TestJudged(t *testing.T) {
	for text, want := range map[string][]string{
		"upper(md5(secret.a + sorted_join(args, '', '') + secret.a))": nil,
		"force ? secret.a : secret.b":                                 nil,
		"jwt('RS256', secret.a, {'iss': secret.b, 'iat': epoch_s()})": nil,
		"secret.a == 'x' ? secret.b : 'c'":                            {"a"},
		"secret.a != 'x' && force ? 'b' : 'c'":                        {"a"},
		"string(!(secret.a <= 'x'))":                                  {"a", "a"},
		"secret.a > 'x' || secret.b >= 'x' ? 'b' : 'c'":               {"a", "b", "a", "b"},
		"string(size(lower(secret.a)))":                               {"a"},
		"string(1 / int(secret.a))":                                   {"a"},
		"args[secret.a]":                                              {"a"},
		"string(secret.a in args)":                                    {"a"},
		"md5(sorted_join({secret.a: 'x', 'm': secret.b}, '', ''))":    {"a"},
		"md5(replace(secret.a, secret.b, 'x') + secret.c)":            {"a", "b"},
		"urlencode(crc32(secret.a)) + json([secret.b])":               nil,
		"string(1 / int(crc32(secret.a)))":                            {"a"},
	} {
		e, err := Compile(text, []string{Args, "force"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		slices.Sort(want)
		got := slices.Sorted(slices.Values(e.Judged()))
		if !slices.Equal(slices.Compact(got), slices.Compact(want)) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if by := strings.Contains(text, " in args") || strings.Contains(text, "args["); e.JudgesArguments() != by {
			t.Errorf("%s: judges arguments: %v", text, !by)
		}
	}
}

func TestTypes(t *testing.T) {
	for text, want := range map[string]Type{
		`secret.x`: Text, `epoch_s()`: Number, `force`: Boolean, `1 + 1`: Number, `secret.x == 'a' ? 'b' : 'c'`: Text,
		`[]`: JSON, `[1, 'a']`: JSON, `{}`: JSON, `{'a': [1]}`: JSON, `args`: JSON,
	} {
		if e, err := CompileJSON(text, []string{Args, "force"}); err != nil || e.Type() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestKeys: what is used as a key is told from what may come out.
func TestKeys(t *testing.T) {
	for text, want := range map[string]struct{ keys, open string }{
		"jwt('HS256', secret.k, {'iss': secret.a}, {'kid': secret.b})":        {"k", "a b"},
		"hex(rsa(secret.k, secret.a)) + hex(rsa('sha1', secret.l, secret.b))": {"k l", "a b"},
		"hex(hmac('md5', secret.k + secret.l, secret.a))":                     {"k l", "a"},
		"hex(hmac('md5', hmac('md5', secret.k, secret.l), secret.a))":         {"k l", "a"},
		"hex(aes('cbc', secret.k, secret.a, secret.b))":                       {"k", "a b"},
		"hex(rsa_encrypt(secret.a, secret.k)) + secret.k":                     {"k", "a k"},
		"upper(md5(secret.a))": {"", "a"},
	} {
		e, err := Compile(text, []string{Args})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if keys, open := strings.Join(e.Keys(), " "), strings.Join(e.Open(), " "); keys != want.keys || open != want.open {
			t.Errorf("%s: keys %q, open %q", text, keys, open)
		}
	}
}
