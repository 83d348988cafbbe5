package realm

// NotYetActive lists the fields of the realm, by their JSON path, whose
// behaviour is not built yet. They are validated, stored and served back.
func (r *Realm) NotYetActive() []string {
	c := &r.Config
	var paths []string
	if c.Grant != nil && c.Grant.Name == GrantTokenExchange {
		paths = append(paths, "config.grant")
	}
	return paths
}
