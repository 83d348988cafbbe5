package curl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText bounds a command line.
const maxText = 256 << 10

// splitWords splits a command line as a POSIX shell does, with the $'...' of bash.
// What a shell would fill in or run is refused: its outcome is not known here.
func splitWords(text string) ([]string, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the command has %d bytes; %d is the limit", len(text), maxText)
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("the command is not UTF-8 text")
	}
	s := &splitter{rest: strings.ReplaceAll(text, "\r\n", "\n")}
	for s.rest != "" {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.words, nil
}

// splitter is a shell that reads one simple command.
type splitter struct {
	rest  string
	words []string
	word  strings.Builder
	// inWord: a word has begun, be it empty.
	inWord bool
}

func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

func (s *splitter) add(text string) {
	s.inWord = true
	s.word.WriteString(text)
}

// step reads one character outside of quotes, or one quoted part.
func (s *splitter) step() error {
	c := s.rest[0]
	switch {
	case strings.HasPrefix(s.rest, "$'"):
		return s.escaped(s.rest[2:])
	case c == '\'':
		return s.single(s.rest[1:])
	case c == '"':
		return s.double(s.rest[1:])
	case c == '$' || c == '`':
		return errFilledIn
	}
	s.rest = s.rest[1:]
	switch c {
	case ' ', '\t', '\n':
		s.end()
	case '\\':
		switch {
		case s.rest == "":
			return errors.New("the command ends with a backslash")
		case s.rest[0] == '\n': // the command goes on in the next line
			s.rest = s.rest[1:]
		default:
			_, n := utf8.DecodeRuneInString(s.rest)
			s.add(s.rest[:n])
			s.rest = s.rest[n:]
		}
	case '|', ';', '&', '<', '>', '(', ')':
		return fmt.Errorf("the command holds %q outside of quotes: give one curl command alone, with its URL in quotes", c)
	case '#':
		if s.inWord {
			s.add("#")
			return nil
		}
		_, s.rest, _ = strings.Cut(s.rest, "\n")
	default:
		s.inWord = true
		s.word.WriteByte(c) // a byte of a character, as it stands
	}
	return nil
}

var errFilledIn = errors.New("the command holds a $ or a backquote that a shell fills in: write the value itself, in single quotes")

func (s *splitter) single(rest string) error {
	text, rest, ok := strings.Cut(rest, "'")
	if !ok {
		return errors.New("a single quote is not closed")
	}
	s.add(text)
	s.rest = rest
	return nil
}

// double reads up to the closing quote. A backslash escapes only what would mean
// something there.
func (s *splitter) double(rest string) error {
	s.add("")
	for rest != "" {
		i := strings.IndexAny(rest, "\"\\$`")
		if i < 0 {
			break
		}
		s.add(rest[:i])
		c := rest[i]
		rest = rest[i+1:]
		switch {
		case c == '"':
			s.rest = rest
			return nil
		case c != '\\':
			return errFilledIn
		case rest == "":
		case strings.IndexByte("\"\\$`", rest[0]) >= 0:
			s.add(rest[:1])
			rest = rest[1:]
		case rest[0] == '\n':
			rest = rest[1:]
		default:
			s.add(`\`)
		}
	}
	return errors.New("a double quote is not closed")
}

// escapes are those of $'...' that stand for one character.
var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", 'e': "\x1b", '\\': `\`, '\'': "'", '"': `"`, '?': "?",
}

// escaped reads $'...', as browsers write it when they copy a request as curl.
func (s *splitter) escaped(rest string) error {
	s.add("")
	for rest != "" {
		i := strings.IndexAny(rest, `'\`)
		if i < 0 {
			break
		}
		s.add(rest[:i])
		c := rest[i]
		rest = rest[i+1:]
		if c == '\'' {
			s.rest = rest
			return nil
		}
		if rest == "" {
			break
		}
		text, n, err := unescape(rest)
		if err != nil {
			return err
		}
		s.add(text)
		rest = rest[n:]
	}
	return errors.New("a quote $' is not closed")
}

// unescape reads what stands behind a backslash, and tells its length.
func unescape(rest string) (text string, n int, err error) {
	if text, ok := escapes[rest[0]]; ok {
		return text, 1, nil
	}
	var most int
	base, from := 16, 1
	switch rest[0] {
	case 'x':
		most = 2
	case 'u':
		most = 4
	case 'U':
		most = 8
	case '0', '1', '2', '3', '4', '5', '6', '7':
		most, base, from = 3, 8, 0
	default:
		return `\`, 0, nil // it means itself
	}
	end := from
	for end < len(rest) && end-from < most && isDigit(rest[end], base) {
		end++
	}
	code, err := strconv.ParseUint(rest[from:end], base, 32)
	if err != nil || code == 0 || code > utf8.MaxRune || code >= utf8.RuneSelf && rest[0] != 'u' && rest[0] != 'U' {
		return "", 0, errors.New(`an escape in $'...' is not one character: write \n, \t, \x41 or \u00e9`)
	}
	return string(rune(code)), end, nil
}

func isDigit(c byte, base int) bool {
	_, err := strconv.ParseUint(string(rune(c)), base, 8)
	return err == nil
}
