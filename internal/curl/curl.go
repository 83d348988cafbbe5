// Package curl turns a token request that works in a terminal into a realm: it
// reads a curl command line, tells what is confidential in it, and makes a recipe
// or a standard grant of the rest. It sends nothing.
//
// A command line holds secrets. They go into the fields of a secret, and into no
// error, note or config.
package curl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Request is what a command line sends.
type Request struct {
	Method string
	URL    *url.URL
	Header []Pair
	// User and Password are those of Authorization: Basic.
	HasBasic       bool
	User, Password string
	// Body is what is sent behind the header.
	HasBody bool
	Body    string
	// Notes tell in words what was left out.
	Notes []string
}

// Pair is a name and its value.
type Pair struct{ Name, Value string }

// Parse reads a command line. Its errors quote options and no values.
func Parse(text string) (*Request, error) {
	words, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 || words[0] != "curl" && !strings.HasSuffix(words[0], "/curl") {
		return nil, errors.New("the command does not begin with curl")
	}
	c := &command{words: words[1:]}
	for len(c.words) > 0 {
		if err := c.next(); err != nil {
			return nil, err
		}
	}
	return c.request()
}

// command is a command line that is read.
type command struct {
	words  []string
	urls   []string
	method string
	header []Pair
	user   *string
	data   []string
	hasGet bool
	isJSON bool
	notes  []string
}

// next reads one word, or one option with its value.
func (c *command) next() error {
	word := c.take()
	switch {
	case strings.HasPrefix(word, "--"):
		return c.option(word)
	case !strings.HasPrefix(word, "-") || word == "-":
		c.urls = append(c.urls, word)
		return nil
	}
	for i, letter := range []byte(word[1:]) { // -sSX POST, -XPOST
		name, ok := shortNames[letter]
		if !ok {
			return fmt.Errorf("the option -%c is not known here; leave it out if the request works without it", letter)
		}
		if kinds[name] == flagOnly {
			if err := c.option(name); err != nil {
				return err
			}
			continue
		}
		if rest := word[i+2:]; rest != "" {
			c.words = append([]string{rest}, c.words...)
		}
		return c.option(name)
	}
	return nil
}

func (c *command) take() string {
	word := c.words[0]
	c.words = c.words[1:]
	return word
}

// kind says what an option takes, and what becomes of it.
type kind int

const (
	flagOnly kind = iota + 1 // understood, without a value
	valued                   // understood, with a value
	ignored                  // without a value; says nothing about the request
	ignoredValue
	refused
)

// kinds are the options of curl that people use for a token request.
var kinds = map[string]kind{
	"--get": flagOnly, "--request": valued, "--header": valued, "--data": valued, "--data-raw": valued, "--data-binary": valued,
	"--data-ascii": valued, "--data-urlencode": valued, "--json": valued, "--user": valued, "--url": valued, "--user-agent": valued,
	"--referer": valued, "--cookie": valued, "--oauth2-bearer": valued, "--url-query": valued,
	"--basic": flagOnly, "--silent": flagOnly, "--show-error": flagOnly, "--include": flagOnly, "--verbose": flagOnly, "--fail": flagOnly,
	"--location": flagOnly, "--compressed": flagOnly, "--no-buffer": flagOnly, "--progress-bar": flagOnly, "--http1.1": flagOnly,
	"--http2": flagOnly, "--globoff": flagOnly, "--ipv4": flagOnly, "--ipv6": flagOnly, "--no-progress-meter": flagOnly,
	"--insecure": flagOnly, "--head": flagOnly, "--netrc": flagOnly,
	"--output": ignoredValue, "--write-out": ignoredValue, "--max-time": ignoredValue, "--connect-timeout": ignoredValue,
	"--retry": ignoredValue, "--dump-header": ignoredValue, "--cookie-jar": ignoredValue,
	"--form": refused, "--form-string": refused, "--upload-file": refused, "--proxy": refused, "--cert": refused, "--key": refused,
	"--cacert": refused, "--config": refused, "--digest": refused, "--ntlm": refused, "--negotiate": refused, "--aws-sigv4": refused,
}

var shortNames = map[byte]string{
	'G': "--get", 'X': "--request", 'H': "--header", 'd': "--data", 'u': "--user", 'A': "--user-agent", 'e': "--referer", 'b': "--cookie",
	's': "--silent", 'S': "--show-error", 'i': "--include", 'v': "--verbose", 'f': "--fail", 'L': "--location", 'N': "--no-buffer",
	'#': "--progress-bar", 'g': "--globoff", '4': "--ipv4", '6': "--ipv6", 'k': "--insecure", 'I': "--head", 'n': "--netrc",
	'o': "--output", 'w': "--write-out", 'm': "--max-time", 'D': "--dump-header", 'c': "--cookie-jar",
	'F': "--form", 'T': "--upload-file", 'x': "--proxy", 'E': "--cert", 'K': "--config",
}

// reasons say why an option cannot be a part of a realm.
var reasons = map[string]string{
	"--insecure":    "certificates are always verified: leave it out, and see docs/realms.md if the provider's is not public",
	"--form":        "a realm sends no multipart/form-data; most token endpoints also take --data",
	"--form-string": "a realm sends no multipart/form-data; most token endpoints also take --data",
	"--head":        "a HEAD request gets no token",
	"--netrc":       "the user and the password stand in a file; write them with --user",
	"--upload-file": "a realm sends no file",
}

// option reads the value of an option and keeps what it says.
func (c *command) option(name string) error {
	if reason, ok := reasons[name]; ok {
		return fmt.Errorf("%s: %s", name, reason)
	}
	switch kinds[name] {
	case flagOnly, ignored:
		switch name {
		case "--get":
			c.hasGet = true
		case "--location":
			c.notes = append(c.notes, "redirects of a token request are not followed")
		}
		return nil
	case refused:
		return fmt.Errorf("%s cannot be a part of a realm's token request", name)
	case valued, ignoredValue:
	default:
		return fmt.Errorf("the option %.40q is not known here; leave it out if the request works without it", name)
	}
	if len(c.words) == 0 {
		return fmt.Errorf("%s needs a value", name)
	}
	if kinds[name] == ignoredValue {
		c.take()
		return nil
	}
	return c.keep(name, c.take())
}

// keep keeps the value of an option.
func (c *command) keep(name, value string) error {
	switch name {
	case "--request":
		c.method = value
	case "--url":
		c.urls = append(c.urls, value)
	case "--user":
		c.user = &value
	case "--user-agent":
		c.header = append(c.header, Pair{"User-Agent", value})
	case "--referer":
		c.header = append(c.header, Pair{"Referer", value})
	case "--oauth2-bearer":
		c.header = append(c.header, Pair{"Authorization", "Bearer " + value})
	case "--cookie":
		if !strings.Contains(value, "=") {
			return errors.New("--cookie names a file; write the cookies themselves")
		}
		c.header = append(c.header, Pair{"Cookie", value})
	case "--header":
		return c.addHeader(value)
	default:
		return c.addData(name, value)
	}
	return nil
}

func (c *command) addHeader(line string) error {
	if strings.HasPrefix(line, "@") {
		return errors.New("--header names a file; write the header itself")
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.TrimSpace(value) == "" { // curl then sends none
		return nil
	}
	c.header = append(c.header, Pair{strings.TrimSpace(name), strings.TrimSpace(value)})
	return nil
}

// addData keeps one part of the body.
func (c *command) addData(name, value string) error {
	if strings.HasPrefix(value, "@") && name != "--data-raw" {
		return fmt.Errorf("%s names a file; write the data itself", name)
	}
	if name == "--data-urlencode" || name == "--url-query" {
		field, text, hasName := strings.Cut(value, "=")
		switch {
		case !hasName && strings.Contains(value, "@"):
			return fmt.Errorf("%s names a file; write the data itself", name)
		case !hasName:
			value = url.QueryEscape(value)
		case field == "":
			value = url.QueryEscape(text)
		default:
			value = field + "=" + url.QueryEscape(text)
		}
	}
	if name == "--url-query" {
		return errors.New("--url-query: write the parameters into the URL")
	}
	c.isJSON = c.isJSON || name == "--json"
	c.data = append(c.data, value)
	return nil
}

// request puts together what was read.
func (c *command) request() (*Request, error) {
	if len(c.urls) != 1 {
		return nil, fmt.Errorf("the command has %d URLs; a realm needs one", len(c.urls))
	}
	address := c.urls[0]
	if !strings.Contains(address, "://") {
		address = "http://" + address // as curl does
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the URL is not an http or https URL")
	}
	r := &Request{Method: c.method, URL: u, Header: c.header, Notes: c.notes}
	if err := r.readBasic(c.user); err != nil {
		return nil, err
	}
	u.User, u.Fragment = nil, ""
	divider := "&"
	if c.isJSON {
		divider = ""
		r.addDefault("Content-Type", "application/json")
		r.addDefault("Accept", "application/json")
	}
	data := strings.Join(c.data, divider)
	switch {
	case c.hasGet && data != "":
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+data, "&")
	case len(c.data) > 0 && !c.hasGet:
		r.HasBody, r.Body = true, data
		r.addDefault("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.HasBody {
			r.Method = http.MethodPost
		}
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut}, r.Method) {
		return nil, errors.New("--request: a token request is GET, POST or PUT")
	}
	if r.HasBody && r.Method == http.MethodGet {
		return nil, errors.New("a GET request of a realm has no body: use -G for parameters, or POST")
	}
	return r, nil
}

// readBasic finds the user and password of --user, of the URL, or of the header.
func (r *Request) readBasic(user *string) error {
	if r.URL.User != nil {
		r.HasBasic, r.User = true, r.URL.User.Username()
		r.Password, _ = r.URL.User.Password()
	}
	if user != nil {
		r.HasBasic = true
		r.User, r.Password, _ = strings.Cut(*user, ":")
	}
	for i, h := range r.Header {
		scheme, code, _ := strings.Cut(h.Value, " ")
		if !strings.EqualFold(h.Name, "Authorization") || !strings.EqualFold(scheme, "Basic") {
			continue
		}
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(code))
		if err != nil {
			return errors.New("the header Authorization: Basic is not base64")
		}
		r.HasBasic = true
		r.User, r.Password, _ = strings.Cut(string(text), ":")
		r.Header = slices.Delete(slices.Clone(r.Header), i, i+1)
		return nil
	}
	return nil
}

// addDefault adds a header that the command does not name itself.
func (r *Request) addDefault(name, value string) {
	if r.header(name) == "" {
		r.Header = append(r.Header, Pair{name, value})
	}
}

// header is the value of a header; "" for none.
func (r *Request) header(name string) string {
	for _, h := range r.Header {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Draft is the realm that a request became, and the values of its secret.
type Draft struct {
	Config realm.Config
	// Fields are the values that a secret gets.
	Fields map[string]realm.Hidden
	// RefreshToken is the first one of a realm that can only refresh.
	RefreshToken realm.Hidden
	// Missing are fields that the realm needs and the request does not show.
	Missing []string
	// Presets are those of the catalogue whose provider the request goes to.
	Presets []string
	// Notes tell in words what a person should look at.
	Notes []string
}
