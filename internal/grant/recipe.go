package grant

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// plan is a recipe before it is compiled: what the fields of a realm say, or
// what a grant constructs. Each part knows the field that it came from, so
// that errors name what the user typed.
type plan struct {
	recipe realm.Recipe // its Arguments are not used
	args   []planned
	// field is the path of the recipe in the realm ("config"), urlField that
	// of its URL.
	field, urlField string
	lifetime        realm.Lifetime
	zone            *time.Location // of dates without one; see loadZone

	// formBasic form-encodes user and password of a basic argument (RFC 6749
	// section 2.3.1).
	formBasic bool
	// wholeSecret makes the body of realm, key and every field of the secret.
	wholeSecret bool
	// unread: the answer of the request holds no token.
	unread bool
	// isLocal: there is no request, and the one argument is the token.
	isLocal bool
}

// planned is an argument and where it came from.
type planned struct {
	realm.Argument
	origin
}

// origin is the field that something was typed in.
type origin struct {
	field string
	// own: a grant made the argument of this field; it has no parts that the
	// user typed.
	byGrant bool
}

// at is the field of a part, such as ".value".
func (o origin) at(part string) string {
	if o.byGrant {
		return o.field
	}
	return o.field + part
}

// recipe is a compiled request and how its answer is read. It is immutable and
// shared by all calls; what is filled in for one call is in values and outgoing.
type recipe struct {
	method  string
	url     urlTemplate
	query   []argument
	path    []argument
	header  []argument
	basic   *argument
	body    body
	plain   bool // formBasic was not asked for
	reading reading
	digest  [sha256.Size]byte // of all that the realm says about the call
	// local is the token itself, where there is no request; else nil.
	local *argument
}

// argument is a compiled part of a request.
type argument struct {
	origin
	name  string
	user  template // of basic: the name is a value too
	value template
	typ   string
	// expr computes the value, in place of the template; exprText is its text.
	expr     *expression.Expression
	exprText string
}

// planOf is a recipe of the realm as it stands.
func planOf(r realm.Recipe, field string, lifetime realm.Lifetime) plan {
	p := plan{recipe: r, field: field, urlField: field + ".url", lifetime: lifetime}
	p.add(r.Arguments, field)
	return p
}

// add appends the arguments of the recipe at field.
func (p *plan) add(args []realm.Argument, field string) {
	for i, a := range args {
		p.args = append(p.args, planned{a, origin{field: field + ".arguments[" + strconv.Itoa(i) + "]"}})
	}
}

// compile gives meaning to a plan.
func (p *plan) compile(sc scope) (*recipe, error) {
	if p.isLocal {
		return p.compileLocal(sc)
	}
	r := &recipe{method: p.recipe.Method, plain: !p.formBasic}
	switch r.method {
	case "":
		r.method = http.MethodGet
	case http.MethodGet, http.MethodPost, http.MethodPut:
	default:
		return nil, realm.Fieldf(p.field+".method", "must be GET, POST or PUT")
	}
	var err error
	if r.url, err = parseURL(p.urlField, p.recipe.URL, sc.and(p.pathNames()...)); err != nil {
		return nil, err
	}
	r.body = body{contentType: p.recipe.ContentType, wholeSecret: p.wholeSecret}
	for _, a := range p.args {
		if err := r.compileArgument(a, sc); err != nil {
			return nil, err
		}
	}
	if err := r.checkComputed(); err != nil {
		return nil, err
	}
	if err := r.body.compile(p.field + ".content_type"); err != nil {
		return r, err
	}
	if p.unread {
		r.reading.contentType = p.recipe.ContentType
		return r, p.compileJudging(&r.reading)
	}
	r.reading, err = p.compileReading()
	return r, err
}

// pathNames are the names that the URL's path may use.
func (p *plan) pathNames() []string {
	var names []string
	for _, a := range p.args {
		if a.Place == realm.PlacePath {
			names = append(names, a.Name)
		}
	}
	return names
}

// compileArgument compiles an argument and puts it where its place says.
func (r *recipe) compileArgument(p planned, sc scope) error {
	a := argument{origin: p.origin, name: p.Name, typ: p.Type, exprText: p.Expr}
	if p.Expr != "" && p.Value != "" {
		return realm.Fieldf(p.at(".expr"), "cannot stand beside a value")
	}
	var err error
	if a.value, err = parseTemplate(p.Value, sc); err != nil {
		return realm.Fieldf(p.at(".value"), "%v", err)
	}
	if p.Expr != "" {
		inJSON := p.Place == realm.PlaceBody && (r.body.contentType == "" || r.body.contentType == realm.ContentJSON)
		if err := a.compileExpr(p.Expr, sc, inJSON); err != nil {
			return err
		}
	}
	if p.Type != "" && p.Place != realm.PlaceBody {
		return realm.Fieldf(p.at(".type"), "is for arguments with place body only")
	}
	switch p.Place {
	case realm.PlaceURL:
		r.query = append(r.query, a)
	case realm.PlaceHeader:
		return r.addHeader(a)
	case realm.PlaceBody:
		r.body.args = append(r.body.args, a)
	case realm.PlaceBasic:
		return r.addBasic(a, sc)
	case realm.PlacePath:
		return r.addPath(a, sc)
	default:
		return realm.Fieldf(p.at(".place"), "must be url, header, body, basic or path")
	}
	return nil
}

// addPath checks that the URL has a place for the argument.
func (r *recipe) addPath(a argument, sc scope) error {
	if slices.Contains(sc.names, a.name) {
		return realm.Fieldf(a.at(".name"), "{%s} has a meaning of its own here", a.name)
	}
	if slices.ContainsFunc(r.path, func(o argument) bool { return o.name == a.name }) {
		return realm.Fieldf(a.at(".name"), "stands twice in the path's arguments")
	}
	named := func(p part) bool { return p.isCallName(a.name) }
	if a.name == "" || !slices.ContainsFunc(r.url.path, named) {
		return realm.Fieldf(a.at(".name"), "the path of %s has no {%s}", r.url.field, a.name)
	}
	if slices.ContainsFunc(r.url.query, named) {
		return realm.Fieldf(r.url.field, "{%s} is an argument of the path and stands in the query", a.name)
	}
	r.path = append(r.path, a)
	return nil
}

// templates are all values of the recipe.
func (r *recipe) templates() []template {
	list := []template{r.url.host, r.url.path, r.url.query}
	for _, a := range r.arguments() {
		list = append(list, a.user, a.value)
	}
	return list
}

// fields are the secret's fields that the recipe reads.
func (r *recipe) fields() []string {
	list := r.templateFields()
	for _, a := range r.arguments() {
		if a.expr != nil {
			list = append(list, a.expr.Fields()...)
		}
	}
	return list
}

// templateFields are the fields that stand in the request as they are, outside
// expressions.
func (r *recipe) templateFields() []string {
	var list []string
	for _, t := range r.templates() {
		list = t.fields(list)
	}
	return list
}

// holds reports whether one of the scope's names stands in a value.
func (r *recipe) holds(name string) bool {
	return slices.ContainsFunc(r.templates(), func(t template) bool { return t.holds(name) }) ||
		slices.ContainsFunc(r.arguments(), func(a argument) bool { return a.expr != nil && a.expr.Reads(name) })
}
