package expression

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
)

// Names that Compile takes and that stand for more than one value.
const (
	Args   = "args"   // the other arguments of the request, by name
	Answer = "answer" // what is kept of the answer that brought the token, by path
)

const (
	varSecret = "secret" // the fields of the secret, and the realm's shared ones

	// maxLength, maxNodes and maxDepth bound an expression.
	maxLength = 4096
	maxNodes  = 1000
	maxDepth  = 100
)

// variables are the names that an expression may be allowed to use.
var variables = map[string]*cel.Type{
	"force":          cel.BoolType,
	"token":          cel.StringType,
	"method":         cel.StringType,
	"path":           cel.StringType,
	"refresh_token":  cel.StringType,
	"code":           cel.StringType,
	"state":          cel.StringType,
	"callback_url":   cel.StringType,
	"code_verifier":  cel.StringType,
	"code_challenge": cel.StringType,
}

// environment is CEL as it is here. What it lacks is absent on purpose: macros
// are loops, matches is a regular expression of the user's.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	texts := cel.MapType(cel.StringType, cel.StringType)
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(operatorsOnly())),
		cel.Macros(clockMacros...),
		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes),
		cel.Variable(varSecret, texts),
		cel.Variable(Args, texts),
		cel.Variable(Answer, texts),
		cel.Variable(varNow, texts),
		cel.Variable(varSeconds, cel.IntType),
		cel.Variable(varMillis, cel.IntType),
		cel.Variable(varUUID, cel.StringType),
		cel.Variable(varRandom, texts),
	}
	for name, typ := range variables {
		options = append(options, cel.Variable(name, typ))
	}
	for _, f := range functions {
		options = append(options, f.declare())
	}
	return cel.NewCustomEnv(options...)
})

// operatorsOnly is the part of CEL's standard library that there is: operators
// of texts, bytes, whole numbers and booleans, and conversions.
func operatorsOnly() *env.LibrarySubset {
	subset := env.NewLibrarySubset().SetDisableMacros(true)
	for name, ids := range map[string][]string{
		operators.Conditional:       nil,
		operators.LogicalAnd:        nil,
		operators.LogicalOr:         nil,
		operators.LogicalNot:        nil,
		operators.Equals:            nil,
		operators.NotEquals:         nil,
		operators.In:                nil,
		operators.Index:             nil,
		operators.Less:              {overloads.LessInt64, overloads.LessString},
		operators.LessEquals:        {overloads.LessEqualsInt64, overloads.LessEqualsString},
		operators.Greater:           {overloads.GreaterInt64, overloads.GreaterString},
		operators.GreaterEquals:     {overloads.GreaterEqualsInt64, overloads.GreaterEqualsString},
		operators.Add:               {overloads.AddInt64, overloads.AddString, overloads.AddBytes},
		operators.Subtract:          {overloads.SubtractInt64},
		operators.Multiply:          {overloads.MultiplyInt64},
		operators.Divide:            {overloads.DivideInt64},
		operators.Modulo:            {overloads.ModuloInt64},
		operators.Negate:            {overloads.NegateInt64},
		overloads.Size:              {overloads.SizeString, overloads.SizeBytes, overloads.SizeMap},
		overloads.TypeConvertString: {overloads.StringToString, overloads.IntToString, overloads.BoolToString, overloads.BytesToString},
		overloads.TypeConvertInt:    {overloads.IntToInt, overloads.StringToInt},
		overloads.TypeConvertBytes:  {overloads.BytesToBytes, overloads.StringToBytes},
	} {
		f := env.NewFunction(name)
		for _, id := range ids {
			f.Overloads = append(f.Overloads, env.NewOverload(id, nil, nil))
		}
		subset.AddIncludedFunctions(f)
	}
	return subset
}
