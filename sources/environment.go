package sources

import (
	"context"
	"fmt"
	"os"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Environment is a variable of the process, which does not change.
type Environment struct{ Name string }

// String names the variable.
func (e Environment) String() string { return "env " + e.Name }

// Files are none.
func (Environment) Files() []string { return nil }

// IsChanged is false: a process keeps its environment.
func (Environment) IsChanged() bool { return false }

// Read reads the variable.
func (e Environment) Read(context.Context) (Value, error) {
	value := os.Getenv(e.Name)
	if value == "" {
		return Value{}, fmt.Errorf("the environment variable %s is not set", e.Name)
	}
	return Value{Text: realm.Hidden(value)}, nil
}
