package expression

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// function is one of those that expressions have besides CEL's operators.
type function struct {
	name   string
	result *cel.Type
	// forms are the lists of parameters that it takes. bytesOrText stands for
	// two types.
	forms [][]*cel.Type
	// call gets one of the forms, and gives a string or []byte.
	call func(args []ref.Val) (any, error)
	// cost of a call beyond that of its arguments' size.
	cost uint64
	// words are what the parameter wordAt may be where there are wordForm or
	// more parameters: a word that must be written out, so that a wrong one is
	// found when the expression is compiled.
	words    []string
	wordForm int
	wordAt   int
	// keyAt returns which of n parameters is the key; nil where there is none.
	// What stands there is used and does not come out of the function.
	keyAt func(n int) int
	// isRandom reports whether the result has a random part; nil where none has.
	isRandom func(args []ast.Expr) bool
}

// keyError is a refusal of a key. It does not show the text of it.
type keyError struct {
	refusal
	text string
}

// blame tells what is wrong with a key from what is wrong with a text.
func (f *function) blame(err error, args []ref.Val) error {
	if reason, ok := err.(refusal); ok && f.keyAt != nil && slices.Contains(keyRefusals, reason) { //nolint:errorlint // they are not wrapped
		return keyError{reason, string(bytesOf(args[f.keyAt(len(args))]))}
	}
	return err
}

// IsFaultOf reports whether an error of Eval says that this text is not the key
// that a function needs.
func IsFaultOf(err error, text string) bool {
	var fault keyError
	return errors.As(err, &fault) && fault.text == text
}

// first and second are places of a key.
func first(int) int  { return 0 }
func second(int) int { return 1 }

// functions are all functions by name.
var functions = func() map[string]*function {
	byName := make(map[string]*function)
	for _, group := range [][]*function{textFunctions, signatures, ciphers} {
		for _, f := range group {
			byName[f.name] = f
		}
	}
	return byName
}()

// bytesOrText is a parameter that takes both.
var bytesOrText = cel.DynType

// table is a parameter that takes a map with names, and list one that takes a
// list.
var (
	table = cel.MapType(cel.StringType, cel.DynType)
	list  = cel.ListType(cel.DynType)
)

// declare makes the function known to CEL, with an overload for every
// combination of types.
func (f *function) declare() cel.EnvOption {
	var options []cel.FunctionOpt
	for _, form := range f.forms {
		for _, params := range combinations(form) {
			options = append(options, cel.Overload(overloadID(f.name, params), params, f.result, cel.FunctionBinding(f.bind)))
		}
	}
	return cel.Function(f.name, options...)
}

// overloadID is a name that no other overload has, as CEL wants one.
func overloadID(name string, params []*cel.Type) string {
	for _, p := range params {
		name += "_" + p.TypeName()
	}
	return name
}

// combinations writes bytesOrText out.
func combinations(form []*cel.Type) [][]*cel.Type {
	all := [][]*cel.Type{nil}
	for _, param := range form {
		choices := []*cel.Type{param}
		if param == bytesOrText {
			choices = []*cel.Type{cel.StringType, cel.BytesType}
		}
		var next [][]*cel.Type
		for _, params := range all {
			for _, c := range choices {
				next = append(next, append(slices.Clone(params), c))
			}
		}
		all = next
	}
	return all
}

// bind calls the function for CEL.
func (f *function) bind(args ...ref.Val) ref.Val {
	result, err := f.call(args)
	if err != nil {
		return types.WrapErr(f.blame(err, args))
	}
	switch result := result.(type) {
	case string:
		if len(result) <= maxResult {
			return types.String(result)
		}
	case []byte:
		if len(result) <= maxResult {
			return types.Bytes(result)
		}
	}
	return types.WrapErr(errTooLarge)
}

// checkWord judges the argument of a function that takes a word.
func checkWord(name string, args []ast.Expr) error {
	f, ok := functions[name]
	if !ok || len(f.words) == 0 || len(args) < f.wordForm {
		return nil
	}
	if word, ok := literal(args[f.wordAt]); !ok || !slices.Contains(f.words, word) {
		ordinal := [...]string{"first", "second", "third"}[f.wordAt]
		return fmt.Errorf("the %s argument of %s must be one of '%s', written out", ordinal, name, strings.Join(f.words, "', '"))
	}
	return nil
}

// bytesOf is a text or bytes.
func bytesOf(v ref.Val) []byte {
	if b, ok := v.Value().([]byte); ok {
		return b
	}
	return []byte(stringOf(v))
}

// stringOf is the text of a value that CEL has checked to be one.
func stringOf(v ref.Val) string {
	s, _ := v.Value().(string)
	return s
}

// sortedJoin joins the entries of a map, sorted by the bytes of their names:
// name, between, value, separator, name ...
func sortedJoin(args []ref.Val) (any, error) {
	entries, err := nativeMap(args[0])
	if err != nil {
		return nil, err
	}
	between, separator := stringOf(args[1]), stringOf(args[2])
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(entries)) {
		if i > 0 {
			b.WriteString(separator)
		}
		switch value := entries[name].(type) {
		case string:
			b.WriteString(name + between + value)
		case int64:
			b.WriteString(name + between + strconv.FormatInt(value, 10))
		case bool:
			b.WriteString(name + between + strconv.FormatBool(value))
		default:
			return nil, refusal("sorted_join takes texts, whole numbers and booleans")
		}
		if b.Len() > maxResult {
			return nil, errTooLarge
		}
	}
	return b.String(), nil
}
