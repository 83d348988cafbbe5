package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// sourceKey is the member of a field's JSON that names its source.
const sourceKey = "source"

// sourceMemories are what is known of sources, by what the configuration says of them.
// A reload does not ask again for what it did not change.
var sourceMemories = caddy.NewUsagePool()

// fieldSources are the fields of one configuration whose values come from elsewhere.
type fieldSources struct {
	ctx caddy.Context
	log *zap.Logger
	// settings are the modules of the tokens block, by name, and written what it says
	// of them.
	settings map[string]any
	written  caddy.ModuleMap
	fields   []*sources.Field
	starters []sources.Starter
	held     []memoryKey
	watch    *sources.Watch
}

// memoryKey identifies a source: a digest of all that is said of it.
type memoryKey [sha256.Size]byte

// newFieldSources loads the modules of the tokens block.
func newFieldSources(ctx caddy.Context, written caddy.ModuleMap) (*fieldSources, error) {
	s := &fieldSources{ctx: ctx, log: ctx.Logger(), settings: make(map[string]any), written: make(caddy.ModuleMap)}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		raw, err := resolveJSON(written[name])
		if err == nil {
			s.written[name] = raw
			s.settings[name], err = s.load(name, raw)
		}
		if err != nil {
			return s, fmt.Errorf("source %s: %w", name, err)
		}
		if _, ok := s.settings[name].(sources.Heir); !ok {
			return s, fmt.Errorf("source %s: has no settings of the tokens block; name it in a field", name)
		}
	}
	return s, nil
}

func (s *fieldSources) load(name string, raw json.RawMessage) (any, error) {
	if err := checkSourceName(name); err != nil {
		return nil, err
	}
	module, err := s.ctx.LoadModuleByID(sourceModules+"."+name, raw)
	if starter, ok := module.(sources.Starter); ok && err == nil {
		s.starters = append(s.starters, starter)
	}
	return module, err
}

// open makes the field of a source that the configuration names.
func (s *fieldSources) open(raw json.RawMessage) (*sources.Field, error) {
	raw, err := resolveJSON(raw)
	if err != nil {
		return nil, err
	}
	name, raw, err := cutName(raw)
	if err != nil {
		return nil, err
	}
	module, err := s.load(name, raw)
	if err != nil {
		return nil, err
	}
	if heir, ok := module.(sources.Heir); ok {
		if err := heir.Inherit(s.settings[name]); err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
	}
	source, ok := module.(sources.Source)
	if !ok {
		return nil, fmt.Errorf("the module %s.%s gives no values", sourceModules, name)
	}
	return s.add(source, name, string(raw), string(s.written[name]))
}

// cutName takes the name of the source off its JSON.
func cutName(raw json.RawMessage) (string, json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return "", nil, err
	}
	var name string
	if err := json.Unmarshal(members[sourceKey], &name); err != nil || name == "" {
		return "", nil, errors.New(`needs the member "source", the name of a module`)
	}
	delete(members, sourceKey)
	rest, err := json.Marshal(members)
	return name, rest, err
}

// add makes the field of a source. identity is all that is said of it. A local one
// is read at once: without a value, the configuration is refused.
func (s *fieldSources) add(source sources.Source, identity ...string) (*sources.Field, error) {
	text, err := json.Marshal(identity)
	if err != nil {
		return nil, err
	}
	key := memoryKey(sha256.Sum256(text))
	memory, _, err := sourceMemories.LoadOrNew(key, func() (caddy.Destructor, error) { return sources.NewMemory(), nil })
	if err != nil {
		return nil, err
	}
	s.held = append(s.held, key)
	f := sources.NewField(source, memory.(*sources.Memory), s.log, time.Now)
	s.fields = append(s.fields, f)
	return f, f.Load(s.ctx)
}

// start begins to watch the files, and what sources do by themselves.
func (s *fieldSources) start() {
	s.watch = sources.NewWatch(s.fields, s.log)
	for _, starter := range s.starters {
		starter.Start()
	}
}

// stop ends the watch.
func (s *fieldSources) stop() {
	s.watch.Close()
	s.watch = nil
}

// close ends all that is being asked, and forgets what no other configuration has.
func (s *fieldSources) close() {
	s.stop()
	for _, f := range s.fields {
		f.Close()
	}
	for _, key := range s.held {
		_, _ = sourceMemories.Delete(key)
	}
	s.held = nil
}

// values are the values that are known, by their sources, which are written like
// placeholders. They are for finding them in errors.
func (s *fieldSources) values() map[string]string {
	values := make(map[string]string)
	for _, f := range s.fields {
		if value, ok := f.Known(); ok {
			values[strings.Replace(f.Status().Source, " ", ".", 1)] = value.Reveal()
		}
	}
	return values
}

// take makes fields of what a secret, or a realm as its shared fields, says of
// sources, and of the values that hold {file./path}, which it takes out of fields.
func (s *fieldSources) take(fields map[string]realm.Hidden, raw map[string]json.RawMessage) (map[string]*sources.Field, error) {
	taken := make(map[string]*sources.Field)
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("%s: has a value, and a source as well", name)
		}
		if name == grant.ParentField {
			return nil, fmt.Errorf("%s: names a parent, and cannot have a source", name)
		}
		var err error
		if taken[name], err = s.open(raw[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text, err := newFilledText(fields[name].Reveal())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(text.files) == 0 || name == grant.ParentField {
			continue
		}
		if taken[name], err = s.add(text, "", text.text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		delete(fields, name)
	}
	return taken, nil
}

// filledText is a value with {file./path}, and perhaps other placeholders. It is the
// source of its field: the files are read again when they change.
type filledText struct {
	text  string
	files map[string]*sources.File // by path
}

func newFilledText(text string) (*filledText, error) {
	t := &filledText{text: text, files: make(map[string]*sources.File)}
	_, err := fillIn(text, nil, func(name string) (string, error) {
		path, ok := strings.CutPrefix(name, "file.")
		if !ok {
			return "", nil
		}
		file, err := sources.NewFile(path)
		t.files[path] = file
		return "", err
	})
	return t, err
}

// String names the files.
func (t *filledText) String() string { return "file " + strings.Join(t.Files(), ", ") }

// Files are the files.
func (t *filledText) Files() []string { return slices.Sorted(maps.Keys(t.files)) }

// IsChanged reports whether one of the files has changed.
func (t *filledText) IsChanged() bool {
	for _, f := range t.files {
		if f.IsChanged() {
			return true
		}
	}
	return false
}

// Read fills in the text.
func (t *filledText) Read(ctx context.Context) (sources.Value, error) {
	text, err := fillIn(t.text, nil, func(name string) (string, error) {
		path, ok := strings.CutPrefix(name, "file.")
		if !ok {
			return lookup(name) //nolint:contextcheck // it waits for nothing
		}
		v, err := t.files[path].Read(ctx)
		return v.Text.Reveal(), err
	})
	return sources.Value{Text: realm.Hidden(text)}, err
}

// resolveJSON fills {env.NAME} and {file./path} into the texts of a JSON value.
func resolveJSON(raw json.RawMessage) (json.RawMessage, error) {
	var v any
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	v, err := resolveValue(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func resolveValue(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case string:
		return resolve(v, nil)
	case []any:
		for i := range v {
			if v[i], err = resolveValue(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = resolveValue(v[name]); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return v, nil
}
