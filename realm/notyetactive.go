package realm

import "reflect"

// NotYetActive lists the fields of the realm, by their JSON path, whose
// behaviour is not built yet. They are validated, stored and served back.
func (r *Realm) NotYetActive() []string {
	c := &r.Config
	var paths []string
	for _, f := range []struct {
		path  string
		value any
	}{
		{"preset", c.Preset},
		{"scrub", c.Scrub},
	} {
		if !reflect.ValueOf(f.value).IsZero() {
			paths = append(paths, "config."+f.path)
		}
	}
	return append(paths, c.notYetActiveWords()...)
}

// notYetActiveWords lists the fields of which only some values are inactive.
func (c *Config) notYetActiveWords() (paths []string) {
	if c.Grant != nil && c.Grant.Name == GrantTokenExchange {
		paths = append(paths, "config.grant")
	}
	for i, in := range c.Inject {
		if in.Place == PlaceBody || in.Place == PlacePath {
			paths = append(paths, indexPath("config.inject", i)+".place")
		}
	}
	return paths
}
