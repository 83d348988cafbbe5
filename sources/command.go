package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// maxOutput bounds what a command prints.
	maxOutput = 64 << 10
	// DefaultCache is how long a value is used that has no end of its own.
	DefaultCache = 5 * time.Minute
	// killedWithin is how long what a command has started may hold its output open
	// after it was killed.
	killedWithin = time.Second
)

// Command is what a command prints: the value as text, or a JSON object with a value
// and its end. No shell reads its arguments.
type Command struct {
	// Args are the command, an absolute path, and its arguments.
	Args []string
	// Cache is how long a value without an end is used; 0: DefaultCache.
	Cache time.Duration
	// Limit is how long a run may take; 0: DefaultTimeout.
	Limit time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Check reports what is wrong with the command.
func (c *Command) Check() error {
	switch {
	case len(c.Args) == 0:
		return errors.New("exec needs a command")
	case !filepath.IsAbs(c.Args[0]):
		return fmt.Errorf("exec: the path of the command '%s' must be absolute", c.Args[0])
	case c.Cache < 0 || c.Cache > realm.MaxLifetime:
		return errors.New("exec: cache is out of range")
	case c.Limit < 0 || c.Limit > time.Minute:
		return errors.New("exec: timeout must be at most a minute")
	}
	return nil
}

// String is the command without its arguments, one of which may be confidential.
func (c *Command) String() string { return "exec " + c.Args[0] }

// Timeout is how long a run may take.
func (c *Command) Timeout() time.Duration { return c.Limit }

// Read runs the command. What it prints to its standard error is not kept: it may
// hold the value.
func (c *Command) Read(ctx context.Context) (Value, error) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) // #nosec G204 -- the operator names the command
	cmd.Env = commandEnvironment()
	out := bounded{tooMuch: kill}
	cmd.Stdout = &out
	cmd.WaitDelay = killedWithin
	killWithChildren(cmd)
	err := cmd.Run()
	if cmd.Process != nil {
		killChildren(cmd)
	}
	var exit *exec.ExitError
	switch {
	case out.isFull:
		return Value{}, errors.New("the command printed more than 64 KiB")
	case ctx.Err() != nil:
		return Value{}, ctx.Err()
	case errors.As(err, &exit):
		return Value{}, fmt.Errorf("the command ended with %s", exit.ProcessState)
	case errors.Is(err, exec.ErrWaitDelay):
		return Value{}, errors.New("the command ended, and what it had started kept its output open")
	case err != nil:
		return Value{}, fmt.Errorf("the command does not run: %w", err)
	}
	return c.parse(out.content)
}

// parse reads what the command printed.
func (c *Command) parse(output []byte) (Value, error) {
	output = trimNewline(output)
	if len(output) == 0 {
		return Value{}, errors.New("the command printed nothing")
	}
	cache := c.Cache
	if cache == 0 {
		cache = DefaultCache
	}
	var doc struct {
		Value     *string         `json:"value"`
		ExpiresAt json.RawMessage `json:"expires_at"`
		ExpiresIn *float64        `json:"expires_in"`
	}
	if err := json.Unmarshal(output, &doc); err != nil || doc.Value == nil {
		return Value{Text: realm.Hidden(output), Fresh: cache, Lease: cache}, nil //nolint:nilerr // no document of ours
	}
	if *doc.Value == "" {
		return Value{}, errors.New("the command printed an empty value")
	}
	switch {
	case doc.ExpiresAt != nil && doc.ExpiresIn != nil:
		return Value{}, errors.New("the command printed both expires_at and expires_in")
	case doc.ExpiresAt != nil:
		at, err := parseInstant(doc.ExpiresAt)
		if err != nil {
			return Value{}, err
		}
		cache = at.Sub(c.now())
	case doc.ExpiresIn != nil:
		cache = time.Duration(min(*doc.ExpiresIn, realm.MaxLifetime.Seconds()) * float64(time.Second))
	}
	if cache <= 0 {
		return Value{}, errors.New("the command printed a value that has ended")
	}
	return Value{Text: realm.Hidden(*doc.Value), Fresh: cache, Lease: cache}, nil
}

func (c *Command) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// parseInstant reads an end as RFC 3339 has it, or in seconds since 1970.
func parseInstant(text json.RawMessage) (time.Time, error) {
	var at time.Time
	if json.Unmarshal(text, &at) == nil {
		return at, nil
	}
	var seconds float64
	if json.Unmarshal(text, &seconds) == nil && seconds > 0 && seconds < 1e11 {
		return time.Unix(int64(seconds), 0), nil
	}
	return at, errors.New("the command printed an expires_at that is neither RFC 3339 nor seconds since 1970")
}

// commandEnvironment is what a command sees of the environment: nothing that may be
// confidential.
func commandEnvironment() (env []string) {
	for _, name := range [...]string{"PATH", "HOME", "LANG", "TZ", "SYSTEMROOT"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// bounded takes at most maxOutput bytes, and a newline behind them. It ends a
// command that prints more. It is no bytes.Buffer, which would read to the end by
// itself.
type bounded struct {
	content []byte
	isFull  bool
	tooMuch func()
}

// Write fails when there is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if b.isFull = b.isFull || len(b.content)+len(p) > maxOutput+len("\r\n"); b.isFull {
		b.tooMuch()
		return 0, errors.New("too much")
	}
	b.content = append(b.content, p...)
	return len(p), nil
}
