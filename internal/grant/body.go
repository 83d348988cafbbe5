package grant

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// body is the body of a token request.
type body struct {
	contentType string // json, form or text
	args        []argument
	tree        *node // of json
	wholeSecret bool
}

// node is a name in a nested JSON body: an object, a list, or an argument's
// value.
type node struct {
	name     string
	arg      *argument
	children []*node
	isList   bool // the children's names are their indexes
}

// compile checks the arguments against the content type, which came from
// field.
func (b *body) compile(field string) error {
	if b.contentType == "" {
		b.contentType = realm.ContentJSON
	}
	switch b.contentType {
	case realm.ContentJSON:
		return b.compileTree()
	case realm.ContentText:
		if len(b.args) > 1 {
			return realm.Fieldf(b.args[1].at(".place"), "a text body has one argument, its value is the body")
		}
	case realm.ContentForm:
	default:
		return realm.Fieldf(field, "must be json, form or text")
	}
	for _, a := range b.args {
		if a.typ != "" && a.typ != realm.TypeString {
			return realm.Fieldf(a.at(".type"), "is for json only")
		}
	}
	return nil
}

// compileTree nests the arguments of a JSON body by their dotted names.
func (b *body) compileTree() error {
	b.tree = &node{}
	for i := range b.args {
		a := &b.args[i]
		if err := checkType(a); err != nil {
			return err
		}
		names, err := parsePath(a.name)
		if err != nil {
			return realm.Fieldf(a.at(".name"), "%v", err)
		}
		if !b.tree.insert(names, a) {
			return realm.Fieldf(a.at(".name"), "%q is set twice", a.name)
		}
	}
	return b.tree.findLists()
}

// findLists makes lists of the nodes whose children have indexes for names
// ("methods.0"). An index that is left out, or a name beside an index, can only
// be a mistake.
func (n *node) findLists() error {
	var named *node
	entries := make(map[int]*node, len(n.children))
	for _, child := range n.children {
		if i, ok := arrayIndex(child.name); ok {
			entries[i] = child
		} else {
			named = child
		}
		if err := child.findLists(); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if named != nil {
		a := named.firstArgument()
		return realm.Fieldf(a.at(".name"), "%q has the name %q beside an index: a list has indexes alone", a.name, named.name)
	}
	n.isList = true
	for i := range n.children {
		if entries[i] == nil {
			last := slices.Max(slices.Collect(maps.Keys(entries)))
			a := entries[last].firstArgument()
			return realm.Fieldf(a.at(".name"), "%q has the index %d, and %d is missing: a list has no gaps", a.name, last, i)
		}
		n.children[i] = entries[i]
	}
	return nil
}

// firstArgument is the first argument at or below the node.
func (n *node) firstArgument() *argument {
	for n.arg == nil {
		n = n.children[0]
	}
	return n.arg
}

// checkType judges the type and, of a constant, the value.
func checkType(a *argument) error {
	switch a.typ {
	case "", realm.TypeString, realm.TypeNumber, realm.TypeBoolean:
	default:
		return realm.Fieldf(a.at(".type"), "must be string, number or boolean")
	}
	if text, ok := a.value.constant(); ok && a.expr == nil && !typed(text, a.typ) {
		return realm.Fieldf(a.at(".value"), "is not a %s", a.typ)
	}
	return nil
}

// typed reports whether a text is a JSON value of the type.
func typed(text, typ string) bool {
	switch typ {
	case realm.TypeBoolean:
		return text == "true" || text == "false"
	case realm.TypeNumber:
		return text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') && json.Valid([]byte(text))
	case typeJSON:
		return text != realm.Mask // the rest was written as JSON
	}
	return true
}

// insert adds an argument below the node. It fails where a value stands in
// the way, or an object in that of a value.
func (n *node) insert(names path, a *argument) bool {
	i := slices.IndexFunc(n.children, func(c *node) bool { return c.name == names[0] })
	switch {
	case i < 0:
		n.children = append(n.children, &node{name: names[0]})
		i = len(n.children) - 1
	case len(names) == 1 || n.children[i].arg != nil:
		return false
	}
	if len(names) == 1 {
		n.children[i].arg = a
		return true
	}
	return n.children[i].insert(names[1:], a)
}

func (b *body) empty() bool { return len(b.args) == 0 && !b.wholeSecret }

// accept is the header that asks for an answer: some servers (GitHub) answer
// in form encoding unless they are asked for JSON.
func (b *body) accept() string {
	if b.contentType == realm.ContentText {
		return "*/*"
	}
	return "application/json"
}

// mediaType is the Content-Type of the request; "" where it has no body.
func (b *body) mediaType() string {
	switch {
	case b.empty():
		return ""
	case b.contentType == realm.ContentForm:
		return "application/x-www-form-urlencoded"
	case b.contentType == realm.ContentText:
		return "text/plain; charset=utf-8"
	}
	return "application/json"
}

// render makes the body; nil for none. ref is what a whole secret belongs to.
func (b *body) render(v *values, ref realm.Ref) ([]byte, error) {
	switch {
	case b.empty():
		return nil, nil
	case b.wholeSecret:
		return renderSecret(v, ref), nil
	case b.contentType == realm.ContentForm:
		return []byte(b.renderForm(v)), nil
	case b.contentType == realm.ContentText:
		return []byte(b.args[0].expand(v)), nil
	}
	return b.tree.append(nil, v)
}

// renderForm keeps the order of the arguments: url.Values would sort them, and
// some providers sign the body as it is.
func (b *body) renderForm(v *values) string {
	pairs := make([]string, len(b.args))
	for i, a := range b.args {
		value := a.expand(v)
		if !v.masked {
			value = formEscape(value)
		}
		pairs[i] = formEscape(a.name) + "=" + value
	}
	return strings.Join(pairs, "&")
}

// append writes the node's children as a JSON object or list.
func (n *node) append(to []byte, v *values) ([]byte, error) {
	open, end := byte('{'), byte('}')
	if n.isList {
		open, end = '[', ']'
	}
	to = append(to, open)
	for i, child := range n.children {
		if v.overflow = v.overflow || len(to) > maxRendered; v.overflow {
			return nil, nil
		}
		if i > 0 {
			to = append(to, ',')
		}
		if !n.isList {
			to = append(appendString(to, child.name), ':')
		}
		var err error
		if child.arg != nil {
			to, err = child.arg.appendValue(to, v)
		} else {
			to, err = child.append(to, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(to, end), nil
}

// appendValue writes an argument's value in its type. {force} alone is a
// boolean.
func (a *argument) appendValue(to []byte, v *values) ([]byte, error) {
	text, typ := a.expand(v), a.jsonType()
	if typ == realm.TypeString || v.masked && !typed(text, typ) {
		return appendString(to, text), nil
	}
	if !typed(text, typ) {
		return nil, realm.Fieldf(a.source(), "is not a %s with the fields of this secret", typ)
	}
	return append(to, text...), nil
}

// renderSecret is what a delegate gets: realm, key and the secret's own
// fields, never the shared ones.
func renderSecret(v *values, ref realm.Ref) []byte {
	to := appendString([]byte(`{"realm":`), ref.Realm)
	to = appendString(append(to, `,"key":`...), ref.Key)
	for _, name := range slices.Sorted(maps.Keys(v.secret)) {
		if name == "realm" || name == "key" {
			continue
		}
		to = append(appendString(append(to, ','), name), ':')
		to = appendString(to, v.get(part{name: name, from: fromSecret}))
		if v.overflow = len(to) > maxRendered; v.overflow {
			break
		}
	}
	return append(to, '}')
}

func appendString(to []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		panic(err)
	}
	return append(to, b...)
}

// formEscape escapes as application/x-www-form-urlencoded wants it.
func formEscape(s string) string { return url.QueryEscape(s) }
