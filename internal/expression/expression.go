// Package expression computes arguments of token requests: signatures,
// digests, timestamps, JWTs. The language is CEL (https://cel.dev) without
// macros, and with few functions besides its operators; docs/realms.md
// lists them.
//
// An expression is compiled and type-checked once, does no I/O, reads nothing
// but what it is given, and is bounded in length, depth, cost and size of its
// results. Its errors never quote a value.
package expression

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Type is what an expression gives.
type Type int

// The types of a result.
const (
	Text    Type = iota
	Number       // a whole number
	Boolean      // true or false
	JSON         // a list or a map, which Eval writes as JSON
)

// Expression is a compiled expression: immutable and safe for concurrent use.
type Expression struct {
	program cel.Program
	typ     Type
	reads
}

// Input is what an expression is computed from.
type Input struct {
	// Secret are the values of the fields that Fields names.
	Secret map[string]string
	// Names are the values of what Compile was given: force is a bool, the
	// rest are strings.
	Names map[string]any
	// Arguments are the other arguments of the request, by name.
	Arguments map[string]string
	// Answer are the values that Answers names.
	Answer map[string]string
	// Now is the instant of now(), epoch_s() and epoch_ms(), UUID what uuid()
	// gives, and Seed what random_hex() is made of: the same in all expressions
	// of one request.
	Now  time.Time
	UUID string
	Seed Seed
}

// refusal is an error of ours: it can be shown, because it quotes no value.
type refusal string

func (r refusal) Error() string { return string(r) }

// Compile reads an expression that may use the names besides secret.x, and
// gives a text, a whole number or a boolean. Errors are for whoever wrote the
// expression.
func Compile(text string, names []string) (*Expression, error) {
	e, err := CompileJSON(text, names)
	if err == nil && e.typ == JSON {
		return nil, errors.New("gives a list or a map, which stands in a JSON body only: json() makes a text of it")
	}
	return e, err
}

// CompileJSON is Compile for an expression that may give a list or a map, too.
func CompileJSON(text string, names []string) (*Expression, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	parsed, issues := env.Parse(text)
	if err := firstIssue(issues); err != nil {
		return nil, err
	}
	e := &Expression{}
	if err := e.read(parsed.NativeRep().Expr(), names); err != nil {
		return nil, err
	}
	checked, issues := env.Check(parsed)
	if err := firstIssue(issues); err != nil {
		return nil, err
	}
	if e.typ, err = resultType(checked.OutputType()); err != nil {
		return nil, err
	}
	if err := checkCost(env, checked); err != nil {
		return nil, err
	}
	e.program, err = env.Program(checked, cel.CostTracking(actualCost{}), cel.CostLimit(maxCost))
	return e, err
}

// firstIssue is the first thing that CEL found wrong, on one line.
func firstIssue(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	first := issues.Errors()[0]
	message := strings.ReplaceAll(first.Message, " (in container '')", "")
	message, _, _ = strings.Cut(message, "\n")
	if first.Location.Line() < 1 {
		return errors.New(message)
	}
	return fmt.Errorf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, message)
}

// resultType refuses what no argument can carry.
func resultType(t *cel.Type) (Type, error) {
	switch {
	case t.IsExactType(cel.StringType):
		return Text, nil
	case t.IsExactType(cel.IntType):
		return Number, nil
	case t.IsExactType(cel.BoolType):
		return Boolean, nil
	case t.Kind() == types.ListKind, t.Kind() == types.MapKind:
		return JSON, nil
	case t.IsExactType(cel.BytesType):
		return 0, errors.New("gives bytes: hex() or base64() makes a text of them")
	}
	return 0, fmt.Errorf("gives %s: it must be a text, a whole number, a boolean, a list or a map", cel.FormatCELType(t))
}

// Type is what the expression gives.
func (e *Expression) Type() Type { return e.typ }

// Eval computes the expression, as a text of at most 64 KiB.
func (e *Expression) Eval(in Input) (string, error) {
	out, _, err := e.program.Eval(e.activation(&in))
	if err != nil {
		return "", shown(err)
	}
	text, err := textOf(out)
	if err != nil {
		return "", shown(err)
	}
	if len(text) > maxResult {
		return "", errTooLarge
	}
	return text, nil
}

// activation names the values as the environment declares them.
func (e *Expression) activation(in *Input) map[string]any {
	values := map[string]any{
		varSecret: in.Secret, Args: in.Arguments, Answer: in.Answer, varNow: e.clocks(in.Now),
		varSeconds: in.Now.Unix(), varMillis: in.Now.UnixMilli(), varUUID: in.UUID,
		varRandom: e.randoms(in.Seed),
	}
	for name, value := range in.Names {
		values[name] = value
	}
	return values
}

// textOf writes a result; Compile has seen that it is one of these.
func textOf(v ref.Val) (string, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Int:
		return strconv.FormatInt(int64(v), 10), nil
	case types.Bool:
		return strconv.FormatBool(bool(v)), nil
	}
	return jsonText(v)
}

// shown is an error that can be shown. Those of CEL quote the values.
func shown(err error) error {
	var (
		own   refusal
		fault keyError
	)
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.As(err, &own):
		return own
	case isCancelled(err):
		return refusal("it costs too much")
	}
	return refusal("an operator or a function does not take the values")
}
