package curl

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Draft makes a realm of a request. What the token is called in the answer, where
// it goes and how a dead one looks is not known yet.
func (r *Request) Draft() (*Draft, error) {
	b := &builder{request: r, draft: &Draft{Fields: map[string]realm.Hidden{}, Notes: slices.Clone(r.Notes)}}
	params, err := r.params()
	if err != nil {
		return nil, err
	}
	c := &b.draft.Config
	c.API = r.URL.Scheme + "://" + r.URL.Host
	if r.URL.Scheme == "http" {
		c.AllowHTTP = realm.On
		b.note("the request goes out in clear, so that allow_http is set; use https if the provider has it")
	}
	b.draft.Presets = presetsOf(r.URL)
	switch granted, err := b.grant(params); {
	case err != nil:
		return nil, err
	case granted:
		return b.draft, nil
	}
	if err := b.recipe(params); err != nil {
		return nil, err
	}
	return b.draft, nil
}

// param is one parameter of the request.
type param struct {
	place, name, value string
	kind               string // of a JSON value that is no text
}

// params are the parameters of the query and the body, in their order.
func (r *Request) params() ([]param, error) {
	list, err := pairs(r.URL.RawQuery, realm.PlaceURL)
	if err != nil || !r.HasBody {
		return list, err
	}
	if r.isJSON() {
		return appendJSON(list, "", r.Body)
	}
	if kind, _, _ := mime.ParseMediaType(r.header("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return append(list, param{place: realm.PlaceBody, value: r.Body}), nil
	}
	form, err := pairs(r.Body, realm.PlaceBody)
	return append(list, form...), err
}

// isJSON reports whether the body is an object of JSON. Many forget to declare it,
// and their provider does not mind.
func (r *Request) isJSON() bool {
	return strings.HasPrefix(strings.TrimSpace(r.Body), "{") && json.Valid([]byte(r.Body))
}

func pairs(query, place string) (list []param, err error) {
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil || name == "" {
			return nil, errors.New("a parameter is not name=value with % escapes")
		}
		list = append(list, param{place: place, name: name, value: value})
	}
	return list, nil
}

// appendJSON flattens an object: dots lead into objects and lists.
func appendJSON(list []param, prefix, text string) ([]param, error) {
	decoder := json.NewDecoder(strings.NewReader(text)) // keeps the order, and the spelling of numbers
	decoder.UseNumber()
	if _, err := decoder.Token(); err != nil {
		return nil, errors.New("the body is not JSON")
	}
	isList := strings.HasPrefix(strings.TrimSpace(text), "[")
	for i := 0; decoder.More(); i++ {
		name := strconv.Itoa(i)
		if !isList {
			token, err := decoder.Token()
			if err != nil {
				return nil, errors.New("the body is not JSON")
			}
			name, _ = token.(string)
			if name == "" || strings.Contains(name, ".") || strings.Trim(name, "0123456789") == "" {
				return nil, errors.New("a name in the JSON body is empty, a number, or holds a dot: a realm cannot say that")
			}
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, errors.New("the body is not JSON")
		}
		var err error
		if list, err = appendValue(list, prefix+name, string(raw)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func appendValue(list []param, name, raw string) ([]param, error) {
	p := param{place: realm.PlaceBody, name: name}
	switch raw[0] {
	case '{', '[':
		n := len(list)
		list, err := appendJSON(list, name+".", raw)
		if err == nil && len(list) == n {
			err = errors.New("an object or list in the JSON body is empty: a realm cannot say that")
		}
		return list, err
	case '"':
		if err := json.Unmarshal([]byte(raw), &p.value); err != nil {
			return nil, errors.New("the body is not JSON")
		}
	case 'n':
		return nil, errors.New("the JSON body holds null: leave it out")
	case 't', 'f':
		p.value, p.kind = raw, realm.TypeBoolean
	default:
		p.value, p.kind = raw, realm.TypeNumber
	}
	return append(list, p), nil
}

// builder makes a draft.
type builder struct {
	request *Request
	draft   *Draft
}

func (b *builder) note(format string, args ...any) {
	b.draft.Notes = append(b.draft.Notes, fmt.Sprintf(format, args...))
}

// field keeps a value in the secret, and returns what stands for it. The same
// value under the same name is one field.
func (b *builder) field(name, value string) string {
	name = fieldName(name)
	free := name
	for i := 2; ; i++ {
		known, taken := b.draft.Fields[free]
		if !taken || known.Reveal() == value {
			break
		}
		free = name + "_" + strconv.Itoa(i)
	}
	b.draft.Fields[free] = realm.Hidden(value)
	return "{secret." + free + "}"
}

// recipe writes the request down as it is.
func (b *builder) recipe(params []param) error {
	r, c := b.request, &b.draft.Config
	u := *r.URL
	u.RawQuery = ""
	c.Method, c.URL = r.Method, b.address(&u)
	for _, p := range params {
		a := realm.Argument{Name: p.name, Place: p.place, Type: p.kind, Value: b.value(p.name, p.value)}
		if p.kind != "" && strings.HasPrefix(a.Value, "{secret.") {
			b.note("%s is a number or a truth value, and was taken for confidential", p.name)
		}
		c.Arguments = append(c.Arguments, a)
	}
	if r.HasBasic {
		c.Arguments = append(c.Arguments, realm.Argument{
			Place: realm.PlaceBasic, Name: b.field("client_id", r.User), Value: b.field("client_secret", r.Password),
		})
	}
	c.ContentType = b.contentType()
	for _, h := range r.Header {
		if isOwnHeader(h.Name) {
			continue
		}
		c.Arguments = append(c.Arguments, realm.Argument{Name: h.Name, Place: realm.PlaceHeader, Value: b.headerValue(h)})
	}
	return nil
}

// contentType is that of the body, and of the answer. Where there is no body, the
// answer is JSON.
func (b *builder) contentType() string {
	r := b.request
	kind, _, _ := mime.ParseMediaType(r.header("Content-Type"))
	switch {
	case !r.HasBody:
		return ""
	case r.isJSON():
		return realm.ContentJSON
	case kind == "application/x-www-form-urlencoded":
		return realm.ContentForm
	}
	return realm.ContentText
}

// isOwnHeader reports whether the engine sets a header itself.
func isOwnHeader(name string) bool {
	return slices.Contains([]string{"content-type", "content-length", "accept", "host", "connection", "accept-encoding", "user-agent"}, strings.ToLower(name))
}

// headerValue keeps the scheme of an Authorization, and what it proves in the
// secret.
func (b *builder) headerValue(h Pair) string {
	scheme, rest, ok := strings.Cut(h.Value, " ")
	if strings.EqualFold(h.Name, "Authorization") && ok {
		return literal(scheme) + " " + b.field("authorization", rest)
	}
	if strings.EqualFold(h.Name, "Authorization") || strings.EqualFold(h.Name, "Cookie") {
		return b.field(h.Name, h.Value)
	}
	return b.value(h.Name, h.Value)
}

// address is the URL, with what looks like a credential in its path kept in the
// secret.
func (b *builder) address(u *url.URL) string {
	steps := strings.Split(u.EscapedPath(), "/")
	for i, step := range steps {
		if text, err := url.PathUnescape(step); err == nil && looksRandom(text) {
			steps[i] = b.field("path_"+strconv.Itoa(i), text)
			b.note("the part %d of the URL's path looks like a credential or an id, and went into the secret", i)
			continue
		}
		steps[i] = strings.ReplaceAll(step, "{", "{{")
	}
	return u.Scheme + "://" + u.Host + strings.Join(steps, "/")
}

// value is what stands in the config for the value of a parameter: the value
// itself, unless it belongs into the secret.
func (b *builder) value(name, value string) string {
	switch {
	case value == "":
		return ""
	case isConfidential(name) || isIdentity(name) || looksRandom(value):
		if isComputed(name) {
			b.note("%s looks like a signature of this one request: a fixed value works once; write an expr in its place", name)
		}
		return b.field(name, value)
	}
	return literal(value)
}

// literal is a value that means itself in a template.
func literal(value string) string {
	value = strings.ReplaceAll(value, "{", "{{")
	if strings.HasPrefix(value, "$") {
		return "$" + value
	}
	return value
}

// isConfidential reports whether a parameter of this name is a credential.
func isConfidential(name string) bool {
	name = lastStep(name)
	for _, part := range []string{"secret", "password", "passwd", "pwd", "key", "private", "token", "sign", "credential", "assertion", "authorization", "auth_code", "ticket"} {
		if strings.Contains(name, part) {
			return name != "token_type" && name != "key_type" && name != "sign_method" && name != "sign_type" && name != "signature_method" && name != "requested_token_type" && name != "subject_token_type"
		}
	}
	return false
}

// isIdentity reports whether a parameter says who asks: each secret has its own.
func isIdentity(name string) bool {
	name = strings.ReplaceAll(lastStep(name), "_", "")
	return slices.Contains([]string{
		"appid", "clientid", "corpid", "suiteid", "username", "user", "account", "tenantid", "tenant", "partnerid", "merchantid", "mchid", "userid", "login", "email",
	}, name)
}

func isComputed(name string) bool {
	name = lastStep(name)
	return name == "sign" || name == "signature"
}

// lastStep is the last name of a path, as it is compared.
func lastStep(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// looksRandom reports whether a value looks like a credential, whatever its name is:
// long, in one piece, with letters and digits.
func looksRandom(value string) bool {
	const least = 20
	if len(value) < least || strings.ContainsAny(value, " \t\n") || strings.Contains(value, "://") || strings.HasPrefix(value, "urn:") {
		return false
	}
	return strings.ContainsAny(value, "0123456789") && strings.ContainsFunc(value, func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	})
}

// fieldName is a name that a field of a secret may have.
func fieldName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '_'
	}, lastStep(name))
	const longest = 40
	name = cmp.Or(strings.Trim(name[:min(len(name), longest)], "_"), "value")
	if name == "inject_only" || name == "import" || name == "parent" {
		name += "_value"
	}
	return name
}
