package realm

// Validate checks the shape of a realm: required fields, known names, places,
// units, limits. Errors are *FieldError with the path that the user typed.
// What templates and answer paths mean is checked by grant.Compile.
func (r *Realm) Validate() error { panic("unwritten") }

// Decode reads JSON into v strictly: unknown fields, doubled names and wrong
// types are a *FieldError that names the path, below prefix.
func Decode(data []byte, prefix string, v any) error { panic("unwritten") }

// NotYetActive lists the fields of the realm, by their JSON path, whose
// behaviour is not built yet.
func (r *Realm) NotYetActive() []string { panic("unwritten") }
