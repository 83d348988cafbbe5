package realm

import "slices"

// NotYetActive lists the fields of the realm, by their JSON path, whose
// behaviour is not built yet. They are validated, stored and served back.
func (r *Realm) NotYetActive() []string {
	c := &r.Config
	var paths []string
	for name, value := range map[string]string{
		"proxy": c.Proxy, "ca": c.CA, "client_certificate": c.ClientCertificate, "client_key": c.ClientKey,
	} {
		if value != "" {
			paths = append(paths, "config."+name)
		}
	}
	slices.Sort(paths)
	return paths
}
