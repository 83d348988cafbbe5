package expression

import (
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

const (
	// maxCost bounds an evaluation, in CEL's unit: the time in which ten bytes
	// are copied or hashed. A million of them is some hundredths of a second.
	maxCost = 1_000_000
	// signatureCost is that of a signature, with the longest key that is taken:
	// an expression has room for four.
	signatureCost = 200_000
	// bytesPerCost is how much of a text a function gets through for one.
	bytesPerCost = 10
	// usualSize of a value that is not known yet: a key in PEM fits.
	usualSize = 4096
	// maxResult bounds what a function gives, and an expression.
	maxResult = 64 << 10
)

const errTooLarge = refusal("a result has more than 64 KiB")

// checkCost estimates the cost with values of the usual size, so that an
// expression that costs too much is refused when it is saved.
func checkCost(env *cel.Env, checked *cel.Ast) error {
	estimate, err := env.EstimateCost(checked, estimatedCost{})
	if err != nil {
		return err
	}
	if estimate.Max > maxCost {
		return errors.New("costs too much: it has more than four signatures, or joins too many values")
	}
	return nil
}

// estimatedCost tells CEL what an evaluation will cost.
type estimatedCost struct{}

// EstimateSize implements checker.CostEstimator.
func (estimatedCost) EstimateSize(checker.AstNode) *checker.SizeEstimate {
	return &checker.SizeEstimate{Max: usualSize}
}

// EstimateCallCost implements checker.CostEstimator.
func (estimatedCost) EstimateCallCost(name, _ string, _ *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	f, ok := functions[name]
	if !ok {
		return nil
	}
	size := uint64(0)
	for _, a := range args {
		if s := a.ComputedSize(); s != nil {
			size += s.Max
		} else {
			size += usualSize
		}
	}
	return &checker.CallEstimate{
		CostEstimate: checker.FixedCostEstimate(1 + f.cost + size/bytesPerCost),
		ResultSize:   &checker.SizeEstimate{Max: usualSize},
	}
}

// actualCost tells CEL what a call has cost.
type actualCost struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (actualCost) CallCost(name, _ string, args []ref.Val, _ ref.Val) *uint64 {
	f, ok := functions[name]
	if !ok {
		return nil
	}
	cost := 1 + f.cost
	for _, a := range args {
		cost += sizeOf(a) / bytesPerCost
	}
	return &cost
}

// sizeOf is the size of a value in bytes, about.
func sizeOf(v ref.Val) uint64 {
	switch v := v.Value().(type) {
	case string:
		return uint64(len(v))
	case []byte:
		return uint64(len(v))
	}
	if m, ok := v.(traits.Mapper); ok {
		size := uint64(0)
		for it := m.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			size += sizeOf(key) + sizeOf(m.Get(key))
		}
		return size
	}
	if l, ok := v.(traits.Lister); ok {
		size := uint64(0)
		for it := l.Iterator(); it.HasNext() == types.True; {
			size += sizeOf(it.Next())
		}
		return size
	}
	return bytesPerCost
}

// isCancelled reports whether an evaluation was stopped at its limit.
func isCancelled(err error) bool {
	var cancelled interpreter.EvalCancelledError
	return errors.As(err, &cancelled)
}
