package inject

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// queryParser is how one kind of upstream reads a query: all values of a
// parameter, in order.
type queryParser struct {
	name   string
	values func(query, name string) []string
}

// queryParsers are the upstreams of the adversarial tests, each written after
// its own rules and not after readsAs.
var queryParsers = []queryParser{
	{"go", goValues},
	{"php", phpValues},
	{"servlet with semicolons", servletValues},
	{"rack", rackValues},
	{"asp.net", aspValues},
	{"classic asp", classicASPValues},
	{"c cgi", cgiValues},
	{"urlsearchparams", searchParamsValues},
	{"old java", overlongValues},
}

// pairsOf splits a query as the parsers do.
func pairsOf(query, separators string) [][2]string {
	var out [][2]string
	for _, p := range strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		name, value, _ := strings.Cut(p, "=")
		out = append(out, [2]string{name, value})
	}
	return out
}

// collect gathers the values of all pairs whose name is read as the wanted.
func collect(query, separators string, same func(name string) bool, decode func(string) string) []string {
	var out []string
	for _, p := range pairsOf(query, separators) {
		if same(decode(p[0])) {
			out = append(out, decode(p[1]))
		}
	}
	return out
}

// lenient decodes what can be decoded and keeps the rest.
func lenient(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s):
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
			b.WriteByte('%')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func goValues(query, name string) []string {
	values, _ := url.ParseQuery(query)
	return values[name]
}

// phpValues follows php_register_variable_ex: blanks in front go, the name
// ends at a NUL, "[...]" is an index, "." and " " and an open "[" become "_".
func phpValues(query, name string) []string {
	return collect(query, "&", func(n string) bool {
		n = strings.TrimLeft(n, " ")
		n, _, _ = strings.Cut(n, "\x00")
		if i := strings.IndexByte(n, '['); i > 0 {
			if strings.Contains(n[i:], "]") {
				n = n[:i]
			} else {
				n = n[:i] + "_" + n[i+1:]
			}
		}
		return strings.NewReplacer(".", "_", " ", "_").Replace(n) == name
	}, lenient)
}

// servletValues splits at ";" too and trims, as older containers did.
func servletValues(query, name string) []string {
	return collect(query, "&;", func(n string) bool { return strings.TrimSpace(n) == name }, lenient)
}

// rackValues drops "[]" and what else makes a nested parameter.
func rackValues(query, name string) []string {
	return collect(query, "&;", func(n string) bool {
		n, _, _ = strings.Cut(strings.TrimLeft(n, " "), "[")
		return n == name
	}, lenient)
}

// aspValues ignores case, as NameValueCollection does.
func aspValues(query, name string) []string {
	return collect(query, "&", func(n string) bool { return strings.EqualFold(n, name) }, lenient)
}

// classicASPValues knows %uXXXX as well.
func classicASPValues(query, name string) []string {
	decode := func(s string) string {
		var b strings.Builder
		for s != "" {
			if len(s) >= 6 && (strings.HasPrefix(s, "%u00") || strings.HasPrefix(s, "%U00")) {
				if c, err := url.PathUnescape("%" + s[4:6]); err == nil {
					b.WriteString(c)
					s = s[6:]
					continue
				}
			}
			b.WriteByte(s[0])
			s = s[1:]
		}
		return lenient(b.String())
	}
	return collect(query, "&", func(n string) bool { return strings.EqualFold(n, name) }, decode)
}

// cgiValues takes any two bytes for digits (NCSA's x2c) and ends at a NUL.
func cgiValues(query, name string) []string {
	digit := func(c byte) byte {
		if c >= 'A' {
			return c&0xdf - 'A' + 10
		}
		return c - '0'
	}
	decode := func(s string) string {
		var b []byte
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '+' {
				c = ' '
			}
			if c == '%' && i+2 < len(s) {
				c = digit(s[i+1])*16 + digit(s[i+2])
				i += 2
			}
			b = append(b, c)
		}
		out, _, _ := strings.Cut(string(b), "\x00")
		return out
	}
	return collect(query, "&;", func(n string) bool { return n == name }, decode)
}

// searchParamsValues drops one "?" in front of the whole.
func searchParamsValues(query, name string) []string {
	return collect(strings.TrimPrefix(query, "?"), "&", func(n string) bool { return n == name }, lenient)
}

// overlongValues takes two bytes for a character that needs one (0xC1 0xA1
// for "a"), and folds case as String.equalsIgnoreCase does.
func overlongValues(query, name string) []string {
	return collect(query, "&", func(n string) bool {
		var b strings.Builder
		for i := 0; i < len(n); i++ {
			if (n[i] == 0xc0 || n[i] == 0xc1) && i+1 < len(n) && n[i+1]&0xc0 == 0x80 {
				b.WriteByte(n[i]&0x1f<<6 | n[i+1]&0x3f)
				i++
				continue
			}
			b.WriteByte(n[i])
		}
		s := b.String()
		return utf8.ValidString(s) && strings.EqualFold(strings.NewReplacer("ı", "i", "İ", "i").Replace(s), name)
	}, lenient)
}
