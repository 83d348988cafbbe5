package expression

import (
	"crypto/sha512"
	"encoding/hex"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// maxRandom is how many random bytes an expression may ask for: as many as one
// digest has, see randoms.
const maxRandom = sha512.Size

// Seed is what the random values of a request are made of.
type Seed [32]byte

// expandRandom makes random_hex(n) the entry of varRandom with that key.
func expandRandom(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	var n types.Int
	if args[0].Kind() == ast.LiteralKind {
		n, _ = args[0].AsLiteral().(types.Int)
	}
	if n < 1 || n > maxRandom {
		return nil, f.NewError(args[0].ID(), "the number of bytes of random_hex must be written out, 1 to "+strconv.Itoa(maxRandom))
	}
	return f.NewCall(operators.Index, f.NewIdent(varRandom), f.NewLiteral(types.String(strconv.Itoa(int(n))))), nil
}

// randoms are the random texts that the expression asks for, by number of bytes.
// Each number has a value of its own: if a short one were the beginning of a long
// one, a nonce that is sent in clear would tell half of a key.
func (r *reads) randoms(seed Seed) map[string]string {
	texts := make(map[string]string, len(r.random))
	for _, key := range r.random {
		n, _ := strconv.Atoi(key) // expandRandom wrote it
		sum := sha512.Sum512(append(seed[:], byte(n)))
		texts[key] = hex.EncodeToString(sum[:n])
	}
	return texts
}
