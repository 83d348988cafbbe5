package caddyfile

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// bare matches a word that neither Caddy's lexer nor its formatter reads as
// anything but itself: letters, digits and harmless signs, with placeholders
// between them. Two braces in a row are not bare, since the formatter would part
// them, and neither is #, at which it begins a comment even within a word.
var bare = regexp.MustCompile(`^(?:[A-Za-z0-9_.:/?&=%+,;@$*!()\[\]|^~'-]|\{[A-Za-z_][A-Za-z0-9_./-]*\})+$`)

// The reasons why a text cannot be written.
var (
	errEncoding    = errors.New("is not UTF-8 text, as a Caddyfile is")
	errVariable    = errors.New("holds {$, with which a variable begins everywhere in a Caddyfile")
	errEnvironment = errors.New("holds {env. or {file., which a Caddyfile fills in")
	errQuotes      = errors.New("holds a carriage return beside quotes that cannot be escaped in a Caddyfile")
)

// checkToken reports why a text cannot stand in a Caddyfile. The variables are
// filled in before anything else is read, so that no quote helps against them.
func checkToken(s string) error {
	switch {
	case !utf8.ValidString(s):
		return errEncoding
	case strings.Contains(s, "{$"):
		return errVariable
	}
	return nil
}

// checkResolved reports whether the module would fill in a part of the text when
// it loads the configuration. "{{" is a brace that means itself there, too, so
// that a template which says so stays as it is.
func checkResolved(s string) error {
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			return nil
		}
		s = s[i+1:]
		if rest, ok := strings.CutPrefix(s, "{"); ok {
			s = rest
			continue
		}
		name, _, ok := strings.Cut(s, "}")
		if ok && (strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")) {
			return errEnvironment
		}
	}
}

// token writes a text as one token, in the simplest form that both the lexer
// reads back and the formatter leaves alone. indent stands in front of the lines
// of a heredoc.
func token(s, indent string) (string, error) {
	if err := checkToken(s); err != nil {
		return "", err
	}
	hasReturn := strings.Contains(s, "\r") // a heredoc would lose it
	switch {
	case bare.MatchString(s):
		return s, nil
	case strings.Contains(s, "\n") && !hasReturn:
		return heredoc(s, indent), nil
	case !strings.ContainsAny(s, "\"`\\"):
		return `"` + s + `"`, nil
	case !strings.Contains(s, "`") && backslashesAtEnd(s)%2 == 0:
		return "`" + s + "`", nil
	case !hasReturn && canEscape(s):
		return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`, nil
	case !hasReturn:
		return heredoc(s, indent), nil
	case canEscape(s):
		return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`, nil
	}
	return "", errQuotes
}

// canEscape reports whether a text can stand in double quotes. Only \" is an
// escape in them; a backslash in front of anything else is one, so that those in
// front of a quote must come in pairs.
func canEscape(s string) bool {
	for _, part := range strings.Split(s, `"`) {
		if backslashesAtEnd(part)%2 != 0 {
			return false
		}
	}
	return true
}

func backslashesAtEnd(s string) int { return len(s) - len(strings.TrimRight(s, `\`)) }

// heredoc writes a text of several lines. The marker ends it wherever it stands,
// so that the text must not hold it.
func heredoc(s, indent string) string {
	marker := "EOF"
	for i := 1; strings.Contains(s, marker); i++ {
		marker = "EOF_" + strconv.Itoa(i)
	}
	var b strings.Builder
	b.WriteString("<<" + marker + "\n")
	for line := range strings.SplitSeq(s, "\n") {
		if line != "" {
			b.WriteString(indent + line)
		}
		b.WriteByte('\n')
	}
	b.WriteString(indent + marker)
	return b.String()
}
