// Package presets is the catalogue: the realms that ship with the product, one
// file of data each. A stored realm keeps the name of its preset and what it
// says itself; Apply puts the two together.
package presets

import (
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

//go:embed data/*.json
var files embed.FS

const (
	folder    = "data"
	extension = ".json"
)

// ErrUnknown: the catalogue has no preset of that name.
var ErrUnknown = errors.New("no preset has this name")

// Names lists the presets, sorted.
func Names() []string {
	entries, err := files.ReadDir(folder)
	if err != nil { // it is a part of the program
		panic(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), extension)
	}
	return names
}

// Get returns a preset, or ErrUnknown. It is another value each time: nobody can
// change the catalogue.
func Get(name string) (Preset, error) {
	data, err := files.ReadFile(folder + "/" + name + extension) // not joined: "./jd" is no name
	if err != nil {
		return Preset{}, ErrUnknown
	}
	var p Preset
	if err := realm.Decode(data, "", &p); err != nil {
		return Preset{}, fmt.Errorf("preset %s: %w", name, err)
	}
	p.fillLists()
	return p, nil
}

// Suggest is the end of an error about a name that the catalogue does not have:
// "; did you mean 'wechat'?", or nothing where no name is near. Names are lower
// case.
func Suggest(name string) string {
	return spelling.DidYouMean(strings.ToLower(name), Names())
}

// List returns all presets by name. A file that cannot be read would be left
// out, so that it harms nobody who does not use it; a test holds that there is
// none.
func List() []Preset {
	var list []Preset
	for _, name := range Names() {
		if p, err := Get(name); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// Apply returns the config of c's preset with what c says laid over it; c
// itself where it names none. Preset stays set.
//
// Whatever stands in JSON at the top level of c replaces the preset's, recipes
// and lists as a whole; of shared, limits and grant, each field does. What is
// empty, zero or false says nothing: a preset's cannot be taken away with it.
// An unknown name is a *realm.FieldError.
func Apply(c realm.Config) (realm.Config, error) {
	if c.Preset == "" {
		return c, nil
	}
	p, err := Get(c.Preset)
	if errors.Is(err, ErrUnknown) {
		return realm.Config{}, realm.Fieldf("config.preset", "%.40q is not known%s; `%s` lists what there is", c.Preset, Suggest(c.Preset), executable.Command("presets"))
	}
	if err != nil {
		return realm.Config{}, err
	}
	overlay(&p.Config, &c)
	return p.Config, nil
}
