package expression

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // Asia/Shanghai is known everywhere, even in containers without zone files

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// The variables that stand for the instant and the chance of a request. No
// expression can name them itself: "@" does not begin a name.
const (
	varNow     = "@now" // texts by zone and layout
	varSeconds = "@epoch_s"
	varMillis  = "@epoch_ms"
	varUUID    = "@uuid"
	varRandom  = "@random" // texts by number of bytes
)

// clockMacros turn the functions of the instant and of chance into variables, so
// that everything about zones, layouts and sizes is found out when an expression
// is compiled.
var clockMacros = []cel.Macro{
	cel.GlobalMacro("now", 2, expandNow),
	variableMacro("epoch_s", varSeconds),
	variableMacro("epoch_ms", varMillis),
	variableMacro("uuid", varUUID),
	cel.GlobalMacro("random_hex", 1, expandRandom),
}

// variableMacro makes a function without arguments the variable that stands for
// it.
func variableMacro(function, variable string) cel.Macro {
	return cel.GlobalMacro(function, 0, func(f cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
		return f.NewIdent(variable), nil
	})
}

// expandNow makes now(layout, zone) the entry of varNow with that key.
func expandNow(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	layout, ok := literal(args[0])
	zone, ok2 := literal(args[1])
	if !ok || !ok2 {
		return nil, f.NewError(args[0].ID(), "the layout and the zone of now must be written out")
	}
	return f.NewCall(operators.Index, f.NewIdent(varNow), f.NewLiteral(types.String(zone+"\x00"+layout))), nil
}

// clock is one way to write the instant.
type clock struct {
	key    string
	layout string
	zone   *time.Location
}

// readClock finds the zone of a key of varNow, and judges the layout.
func (r *reads) readClock(key string) error {
	zone, layout, _ := strings.Cut(key, "\x00")
	if zone == "" || zone == "Local" { // which differs between nodes
		return refusal("the zone of now must be a name such as UTC or Asia/Shanghai")
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return fmt.Errorf("the zone %q of now is not known", zone)
	}
	if sampleInstant.Format(layout) == layout {
		return fmt.Errorf("the layout %q of now holds no part of a time: it is written with Go's reference time, 2006-01-02 15:04:05", layout)
	}
	r.layouts = append(r.layouts, clock{key, layout, location})
	return nil
}

// sampleInstant has no part in common with the reference time.
var sampleInstant = time.Date(2031, 11, 25, 23, 48, 59, 0, time.UTC)

// clocks are the texts of the instant, by key.
func (r *reads) clocks(now time.Time) map[string]string {
	texts := make(map[string]string, len(r.layouts))
	for _, c := range r.layouts {
		texts[c.key] = now.In(c.zone).Format(c.layout)
	}
	return texts
}
