// Package presets is the catalogue: the realms that ship with the product, one
// file of data each. A stored realm keeps the name of its preset and what it
// says itself; Apply puts the two together.
package presets

import (
	"embed"
	"fmt"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

//go:embed data/*.json
var files embed.FS

const (
	folder    = "data"
	extension = ".json"
)

// preset is one file of the catalogue.
type preset struct {
	// Name is the file's, without its extension.
	Name string `json:"name"`
	// Doc is the provider's page.
	Doc string `json:"doc"`
	// Comment says which fields a secret needs, what is known of the provider
	// by whom, and what is not.
	Comment string `json:"comment"`
	// Config is what the realm says where a stored one is silent.
	Config realm.Config `json:"config"`
}

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

// Apply returns the config of c's preset with what c says laid over it; c
// itself where it names none. Preset stays set.
//
// Whatever stands in JSON at the top level of c replaces the preset's, recipes
// and lists as a whole; of shared, limits and grant, each field does. What is
// empty, zero or false says nothing: a preset's cannot be taken away with it.
// An unknown name is a *realm.FieldError that lists the known ones.
func Apply(c realm.Config) (realm.Config, error) {
	if c.Preset == "" {
		return c, nil
	}
	p, err := load(c.Preset)
	if err != nil {
		return realm.Config{}, err
	}
	overlay(&p.Config, &c)
	return p.Config, nil
}

// load reads a preset. It is another value each time: nobody can change the
// catalogue.
func load(name string) (preset, error) {
	data, err := files.ReadFile(folder + "/" + name + extension) // not joined: "./jd" is no name
	if err != nil {
		return preset{}, realm.Fieldf("config.preset", "%.40q is not known; there are: %s", name, strings.Join(Names(), ", "))
	}
	var p preset
	if err := realm.Decode(data, "", &p); err != nil {
		return preset{}, fmt.Errorf("preset %s: %w", name, err)
	}
	return p, nil
}
