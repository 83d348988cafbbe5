// Command pages writes the pages of the catalogue: docs/providers and
// docs/zh-CN/providers. Run it from the top of the repository.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

func main() {
	err := readable()
	if err == nil {
		err = write(".")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readable is the fault of the presets that cannot be written as they are. List
// leaves out what it cannot read, and write would remove its page.
func readable() error {
	var faults []error
	for _, name := range presets.Names() {
		p, err := presets.Get(name)
		if err == nil {
			err = checkCategory(p)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// checkCategory refuses a category that the index has no heading for.
func checkCategory(p presets.Preset) error {
	if slices.Contains(presets.Categories, p.Category) {
		return nil
	}
	return fmt.Errorf("preset %s: category %q is not known; there are %s", p.Name, p.Category, strings.Join(presets.Categories, ", "))
}

// write brings the folders of the pages up to date, below the top of the
// repository. A page whose preset is gone is removed.
func write(top string) error {
	all := files()
	for _, l := range languages {
		folder := filepath.Join(top, l.folder)
		if err := os.MkdirAll(folder, 0o755); err != nil { // #nosec G301 -- documents
			return err
		}
		old, err := filepath.Glob(filepath.Join(folder, "*.md"))
		if err != nil {
			return err
		}
		for _, path := range old {
			if _, ok := all[filepath.ToSlash(filepath.Join(l.folder, filepath.Base(path)))]; !ok {
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	for path, text := range all {
		path = filepath.Join(top, filepath.FromSlash(path))
		if now, err := os.ReadFile(path); err == nil && slices.Equal(now, []byte(text)) { // #nosec G304 -- our own pages
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { // #nosec G306 -- documents
			return err
		}
	}
	return nil
}
