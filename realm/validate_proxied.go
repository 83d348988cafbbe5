package realm

import (
	"crypto/x509"
	"net/textproto"
	"slices"
	"strings"
)

// overrideHeaders are fields by which some servers take a method or a path
// other than those of the request line. What was allowed by its method and path
// would then do something else, so that they never go to a provider.
var overrideHeaders = []string{
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	"X-Original-Url", "X-Rewrite-Url",
}

// OverrideHeaders returns the names, in canonical form, of the header fields
// that would change what a request does, and so are always removed from it.
func OverrideHeaders() []string { return slices.Clone(overrideHeaders) }

// validateProxied checks what the realm says about requests that are sent
// through the proxy.
func (c *Config) validateProxied() error {
	if err := c.validatePass(); err != nil {
		return err
	}
	if err := c.validateMethods(); err != nil {
		return err
	}
	return c.validateConnection()
}

// validateConnection checks what the realm says about connections to the provider.
func (c *Config) validateConnection() error {
	if _, err := c.Proxy.Parse(); err != nil {
		return Fieldf("config.proxy", "%v", err)
	}
	if strings.Contains(c.CA, "PRIVATE KEY") {
		return Fieldf("config.ca", "must hold certificates only: a key would be shown with the realm")
	}
	if c.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)) {
		return Fieldf("config.ca", "must hold certificates in PEM")
	}
	for field, name := range map[string]string{"client_certificate": c.ClientCertificate, "client_key": c.ClientKey} {
		if name != "" && (!isFieldName(name) || len(name) > maxFieldName) {
			return Fieldf("config."+field, notFieldName, maxFieldName)
		}
	}
	if (c.ClientCertificate == "") != (c.ClientKey == "") {
		return Fieldf("config.client_key", "client_certificate and client_key belong together")
	}
	return nil
}

// validatePass checks the header fields that may go through. A name that is
// removed for another reason is refused: it would look as if it went through.
func (c *Config) validatePass() error {
	for i, name := range c.Pass {
		path := indexPath("config.pass", i)
		if err := validHeader(path, name); err != nil {
			return err
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case strings.HasPrefix(canonical, "Proxy-") || canonical == "Alt-Svc":
			return Fieldf(path, "must not be %s, which is the connection's own", canonical)
		case c.injects(canonical):
			return Fieldf(path, "must not be %s: the token is put there", canonical)
		case slices.Contains(overrideHeaders, canonical):
			return Fieldf(path, "must not be %s, which changes what a request does", canonical)
		case canonical == "Forwarded" || canonical == "Via" || canonical == "X-Real-Ip" || strings.HasPrefix(canonical, "X-Forwarded"):
			return Fieldf(path, "must not be %s: forwarded decides about it", canonical)
		}
		first := slices.IndexFunc(c.Pass, func(other string) bool { return strings.EqualFold(other, name) })
		if first < i {
			return Fieldf(path, "is the same as pass[%d]", first)
		}
	}
	return nil
}

// injects reports whether a header field of this canonical name carries the
// token.
func (c *Config) injects(canonical string) bool {
	return slices.ContainsFunc(c.Inject, func(in Injection) bool {
		switch in.Place {
		case PlaceBasic:
			return canonical == "Authorization"
		case PlaceHeader:
			return canonical == textproto.CanonicalMIMEHeaderKey(in.Name)
		}
		return false
	})
}

// validateMethods checks the methods. Their names are case-sensitive (RFC 9110
// section 9.1), and all that are registered are written in capitals.
func (c *Config) validateMethods() error {
	for i, method := range c.Methods {
		path := indexPath("config.methods", i)
		switch {
		case method == "" || strings.ContainsFunc(method, notMethod):
			return Fieldf(path, "must be a method in capitals (RFC 9110 section 9.1), not %.40q", method)
		case method == "TRACE" || method == "TRACK" || method == "CONNECT":
			return Fieldf(path, "must not be %s, which would show the token or open a tunnel with it", method)
		}
		if first := slices.Index(c.Methods, method); first < i {
			return Fieldf(path, "is the same as methods[%d]", first)
		}
	}
	return nil
}

// notMethod reports whether a character stands in no method.
func notMethod(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' && r != '_' }
