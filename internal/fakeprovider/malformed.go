package fakeprovider

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answer is an answer of a token endpoint that a provider has given
// somewhere, or might. The token in it was issued, and is in the ledger.
type Answer struct {
	// Name of the answer, for Faults.
	Name string
	// Usable says that a reader that takes its recipe at its word, and not the
	// header, gets the token out of it.
	Usable bool
	// Life is what the answer says of the token's life; zero where it says
	// nothing that can be believed.
	Life time.Duration

	reply func(wire) reply
}

// of is the answer with a token.
func (a Answer) of(g wire) reply {
	out := a.reply(g)
	if a.Usable {
		out.holds = []string{g.token}
	}
	return out
}

// Malformed are all such answers.
func Malformed() []Answer {
	return slices.Concat(unreadable(), oversized(), mislabelled(), refusing(), expiries())
}

func answerNamed(name string) Answer {
	for _, a := range Malformed() {
		if a.Name == name {
			return a
		}
	}
	panic("fakeprovider: no malformed answer is called " + strconv.Quote(name))
}

const jsonType = "application/json"

// raw is a reply of the given type whose body may hold TOKEN, NAME (of the
// token) and EXPIRY (its name).
func raw(status int, contentType, body string) func(wire) reply {
	return func(g wire) reply {
		if g.names.inside != "" && strings.HasPrefix(strings.TrimSpace(body), `{"NAME"`) {
			body = `{"` + g.names.inside + `":` + body + `}`
		}
		text := strings.NewReplacer("TOKEN", g.token, "NAME", g.names.token, "EXPIRY", g.names.expiry).Replace(body)
		a := reply{status: status, raw: []byte(text)}
		if contentType != "" {
			a = a.with("Content-Type", contentType)
		}
		return a
	}
}

const good = `{"NAME":"TOKEN","EXPIRY":7200}`

// unreadable answers hold no token that can be got out, or hold it in an
// odd but readable form.
func unreadable() []Answer {
	broken := func(name, body string) Answer {
		return Answer{Name: name, reply: raw(http.StatusOK, jsonType, body)}
	}
	return []Answer{
		broken("empty", ""),
		broken("blank", " \r\n\t "),
		broken("html", "<!DOCTYPE html><html><body>login</body></html>"),
		broken("garbage", "\x00\x01\xfe\xff\x1f\x8b\x08"),
		broken("truncated", `{"NAME":"TOKEN","EXPI`),
		broken("trailing", good+`{"NAME":"other"}`),
		broken("array", `["TOKEN",7200]`),
		broken("null", "null"),
		broken("text", `"TOKEN"`),
		broken("deep", strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)),
		broken("token absent", `{"EXPIRY":7200}`),
		broken("token null", `{"NAME":null,"EXPIRY":7200}`),
		broken("token empty", `{"NAME":"","EXPIRY":7200}`),
		broken("token object", `{"NAME":{"value":"TOKEN"},"EXPIRY":7200}`),
		broken("token boolean", `{"NAME":true,"EXPIRY":7200}`),
		broken("token with line break", `{"NAME":"TOKEN\r\nX-Evil: 1","EXPIRY":7200}`),
		broken("invalid utf-8", "{\"NAME\":\"TOKEN\xff\xfe\",\"EXPIRY\":7200}"),
		broken("as a form", "NAME=TOKEN&EXPIRY=7200"),
		broken("expiry bare nan", `{"NAME":"TOKEN","EXPIRY":NaN}`),
		broken("name twice", `{"NAME":"first","NAME":"TOKEN","EXPIRY":7200}`),
		{Name: "byte order mark", Usable: true, Life: twoHours, reply: raw(http.StatusOK, jsonType, "\ufeff"+good)},
		{Name: "blanks around", Usable: true, Life: twoHours, reply: raw(http.StatusOK, jsonType, "\n  "+good+"\r\n\r\n")},
		{Name: "reset", reply: func(wire) reply { return reply{stream: reset} }},
		{Name: "hang up", reply: func(wire) reply { return reply{stream: hangUp} }},
		{Name: "half", reply: func(g wire) reply { return reply{stream: half(g)} }},
		{Name: "redirect", reply: func(wire) reply {
			return reply{status: http.StatusTemporaryRedirect}.with("Location", "/elsewhere")
		}},
		{Name: "no content", reply: func(wire) reply { return reply{status: http.StatusNoContent} }},
	}
}

// oversized answers must be given up after 1 MiB.
func oversized() []Answer {
	return []Answer{
		{Name: "gigabyte", reply: func(g wire) reply { return reply{stream: gigabyte} }},
		{Name: "gzip bomb", reply: func(g wire) reply {
			return reply{status: http.StatusOK, raw: bomb()}.with("Content-Type", jsonType).with("Content-Encoding", "gzip")
		}},
		{Name: "padded", reply: raw(http.StatusOK, jsonType, good+strings.Repeat(" ", 2<<20))},
	}
}

// mislabelled answers are right but for their header: QQ and WeChat send
// JSON as text.
func mislabelled() []Answer {
	labelled := func(name, contentType string) Answer {
		return Answer{Name: name, Usable: true, Life: twoHours, reply: raw(http.StatusOK, contentType, good)}
	}
	return []Answer{
		labelled("as plain text", "text/plain"),
		labelled("as html", "text/html; charset=gbk"),
		labelled("as javascript", "application/x-javascript"),
		labelled("as nonsense", ";;;"),
		{Name: "created", Usable: true, Life: twoHours, reply: raw(http.StatusCreated, jsonType, good)},
		{Name: "gzip", Usable: true, Life: twoHours, reply: encoded(Gzip)},
		{Name: "deflate", reply: encoded(Deflate)}, // nobody asked for these two
		{Name: "zstd", reply: encoded(Zstd)},
		{Name: "half of gzip", reply: func(g wire) reply {
			a := encoded(Gzip)(g)
			a.raw = a.raw[:len(a.raw)/2]
			return a
		}},
		{Name: "gzip that is none", reply: func(g wire) reply {
			return raw(http.StatusOK, jsonType, good)(g).with("Content-Encoding", string(Gzip))
		}},
	}
}

func encoded(e Encoding) func(wire) reply {
	return func(g wire) reply { return raw(http.StatusOK, jsonType, good)(g).encoded(e) }
}

// refusing answers are refusals in the form of a success, or the other
// way round.
func refusing() []Answer {
	refusal := func(name string, status int, body string) Answer {
		return Answer{Name: name, reply: raw(status, jsonType, body)}
	}
	return []Answer{
		refusal("errcode 40001", http.StatusOK, `{"errcode":40001,"errmsg":"invalid credential"}`),
		refusal("errcode 40164", http.StatusOK, `{"errcode":40164,"errmsg":"invalid ip, not in whitelist"}`),
		refusal("errcode 45009", http.StatusOK, `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`),
		refusal("errcode -1", http.StatusOK, `{"errcode":-1,"errmsg":"system error"}`),
		refusal("error in 200", http.StatusOK, `{"error":"invalid_client","error_description":"no"}`),
		refusal("token in 500", http.StatusInternalServerError, good),
		refusal("token in 404", http.StatusNotFound, good),
	}
}
