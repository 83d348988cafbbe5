package expression

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// reads is what an expression reads. It is known before the first evaluation,
// because every name must be written out.
type reads struct {
	fields    []string // of the secret
	names     []string
	arguments []string // by name
	args      bool     // args at all
	answers   []string // paths in the answer
	varies    bool     // see Varies
	layouts   []clock
	random    []string // numbers of bytes
	keys      []string // fields, see Keys
	open      []string // fields, see Open
	judged    []string // fields, see Judged
	judgesAny bool     // args are judged
	inKey     bool     // what is read now is, or is a part of, a key
}

// Fields are the secret's fields that the expression reads.
func (r *reads) Fields() []string { return r.fields }

// Names are those of Compile that the expression reads.
func (r *reads) Names() []string { return r.names }

// Reads reports whether the expression reads one of the names of Compile.
func (r *reads) Reads(name string) bool { return slices.Contains(r.names, name) }

// ReadsArguments reports whether the expression reads other arguments of the
// request; Arguments are those that it names.
func (r *reads) ReadsArguments() bool { return r.args }

// Answers are the paths of what the expression reads of the answer.
func (r *reads) Answers() []string { return r.answers }

// Varies reports whether the expression has another value each time, whatever it
// is computed from: it reads the time or something random, or calls a function
// whose result has a random part.
func (r *reads) Varies() bool { return r.varies }

// Arguments are the other arguments of the request that the expression names.
func (r *reads) Arguments() []string { return r.arguments }

// Keys are the fields that stand where a function takes its key, and Open those
// that stand elsewhere. Who sees a result does not learn the first, and may learn
// the others.
func (r *reads) Keys() []string { return r.keys }

// Open belongs to Keys.
func (r *reads) Open() []string { return r.open }

// Judged are the fields that decide which way the expression takes, or whether it
// fails. Whoever writes such expressions and sees what becomes of them learns the
// value by asking often enough, though it is masked. JudgesArguments reports
// whether other arguments do so.
func (r *reads) Judged() []string { return r.judged }

// JudgesArguments belongs to Judged.
func (r *reads) JudgesArguments() bool { return r.judgesAny }

// judge notes what is read by expressions whose values decide something.
func (r *reads) judge(list []ast.Expr, known []string) error {
	var inner reads
	err := inner.readAll(list, known)
	r.judged = append(r.judged, inner.fields...)
	r.judgesAny = r.judgesAny || inner.args
	return err
}

// judging are the operators and functions of which an operand decides
// something; of a conditional, it is the first one.
var judging = []string{
	operators.Equals, operators.NotEquals, operators.In, operators.Index, operators.LogicalNot,
	operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, overloads.Size, overloads.TypeConvertInt,
	"replace", // a long text in place of a short one fails where the short one occurs
}

// read walks a parsed expression, which is not deeper than the parser allows.
func (r *reads) read(e ast.Expr, known []string) error {
	switch e.Kind() {
	case ast.IdentKind:
		return r.readName(e.AsIdent(), known)
	case ast.SelectKind:
		joinPath(e)
		s := e.AsSelect()
		return r.readMember(s.Operand(), s.FieldName(), known)
	case ast.CallKind:
		return r.readCall(e.AsCall(), known)
	case ast.ListKind:
		return r.readAll(e.AsList().Elements(), known)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			m := entry.AsMapEntry()
			// Names are put in order, and two that are equal fail.
			if err := r.judge([]ast.Expr{m.Key()}, known); err != nil {
				return err
			}
			if err := r.readAll([]ast.Expr{m.Key(), m.Value()}, known); err != nil {
				return err
			}
		}
		return nil
	case ast.LiteralKind:
		return nil
	default: // messages; comprehensions come from macros, and there are none
		return refusal("a message has no meaning here")
	}
}

// readAll reads the expressions of a list.
func (r *reads) readAll(list []ast.Expr, known []string) error {
	for _, e := range list {
		if err := r.read(e, known); err != nil {
			return err
		}
	}
	return nil
}

// readCall reads a call and its arguments. An index that is written out is a
// member: secret["x-y"] names a field.
func (r *reads) readCall(c ast.CallExpr, known []string) error {
	args := c.Args()
	if c.FunctionName() == operators.Index {
		if key, ok := literal(args[1]); ok {
			return r.readMember(args[0], key, known)
		}
	}
	if err := checkWord(c.FunctionName(), args); err != nil {
		return err
	}
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	f := functions[c.FunctionName()]
	r.varies = r.varies || f != nil && f.isRandom != nil && f.isRandom(args)
	decides := args
	switch {
	case c.FunctionName() == operators.Conditional:
		decides = args[:1]
	case !slices.Contains(judging, c.FunctionName()):
		decides = nil
	}
	if err := r.judge(decides, known); err != nil {
		return err
	}
	if f != nil && f.keyAt != nil {
		return r.readKeyed(args, f.keyAt(len(args)), known)
	}
	return r.readAll(args, known)
}

// readKeyed reads the arguments of a function that takes a key.
func (r *reads) readKeyed(args []ast.Expr, key int, known []string) error {
	outer := r.inKey
	defer func() { r.inKey = outer }()
	for i, a := range args {
		r.inKey = outer || i == key
		if err := r.read(a, known); err != nil {
			return err
		}
	}
	return nil
}

// readMember reads "operand.name" and operand["name"].
func (r *reads) readMember(operand ast.Expr, name string, known []string) error {
	if operand.Kind() != ast.IdentKind {
		return r.read(operand, known)
	}
	root := operand.AsIdent()
	switch {
	case root == varSecret:
		r.fields = append(r.fields, name)
		if r.inKey {
			r.keys = append(r.keys, name)
		} else {
			r.open = append(r.open, name)
		}
	case root == varNow:
		r.varies = true
		return r.readClock(name)
	case root == varRandom:
		r.varies, r.random = true, append(r.random, name)
	case root == Answer && slices.Contains(known, Answer):
		r.answers = append(r.answers, name)
	case root == Args && slices.Contains(known, Args):
		r.args, r.arguments = true, append(r.arguments, name)
	default:
		return r.readName(root, known)
	}
	return nil
}

// readName reads a name that stands alone.
func (r *reads) readName(name string, known []string) error {
	switch {
	case name == varSecret:
		return refusal(`secret must be followed by a field that is written out: secret.x or secret["x-y"]`)
	case strings.HasPrefix(name, "@"): // of a macro
		r.varies = true
	case !slices.Contains(known, name):
		return fmt.Errorf("%s is not known here: %s are", name, listed(known))
	case name == Answer:
		return refusal(`answer must be followed by a path that is written out: answer.x or answer["x.y"]`)
	case name == Args:
		r.args = true
	default:
		r.names = append(r.names, name)
	}
	return nil
}

// listed are all names that an expression may read.
func listed(known []string) string {
	list := "secret.x"
	for _, name := range known {
		if name == Answer {
			name += ".x"
		}
		list += ", " + name
	}
	return list
}

// joinPath makes answer.user.id the member "user.id" of answer: what is kept of an
// answer are single values, by their paths.
func joinPath(e ast.Expr) {
	path, root := e.AsSelect().FieldName(), e.AsSelect().Operand()
	for root.Kind() == ast.SelectKind {
		path, root = root.AsSelect().FieldName()+"."+path, root.AsSelect().Operand()
	}
	if root.Kind() == ast.IdentKind && root.AsIdent() == Answer {
		e.SetKindCase(ast.NewExprFactory().NewSelect(e.ID(), root, path))
	}
}

// literal is the text of a literal.
func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
