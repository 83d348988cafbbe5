package caddyfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// secretFiles is where the files lie that hold values of several lines: the place
// of Docker's and Podman's secrets.
const secretFiles = "/run/secrets/"

// names gives each field a variable or a file of its own.
type names struct {
	realm string
	// files are the fields that the realm itself uses as a key or a certificate in
	// PEM.
	files []string
	taken map[string]bool
}

func newNames(r *realm.Realm) *names {
	n := &names{realm: r.ID, taken: make(map[string]bool)}
	if g := r.Config.Grant; g != nil {
		for _, value := range []string{g.PrivateKey, g.Certificate} {
			if name, ok := strings.CutPrefix(value, "{secret."); ok {
				n.files = append(n.files, strings.TrimSuffix(name, "}"))
			}
			n.files = append(n.files, strings.TrimPrefix(value, "$"))
		}
	}
	return n
}

// placeholder stands for the value of a field: {env.WECHAT_MAIN_APPID}, or
// {file./run/secrets/google-main-private_key}. The key of a shared field is
// empty.
func (n *names) placeholder(s Secret, field string) string {
	parts := []string{n.realm, s.Key, field}
	if s.Key == "" {
		parts = []string{n.realm, field}
	}
	if n.isFile(s, field) {
		return "{file." + n.unique(secretFiles+fileName(strings.Join(parts, "-")), "-") + "}"
	}
	return "{env." + n.unique(Variable(parts...), "_") + "}"
}

// isFile reports whether a value is a key or a certificate in PEM, or has several
// lines for another reason.
func (n *names) isFile(s Secret, field string) bool {
	if slices.Contains(s.Files, field) || slices.Contains(n.files, field) {
		return true
	}
	name := strings.ToLower(field)
	return strings.Contains(name, "private_key") || strings.Contains(name, "certificate") || strings.HasSuffix(name, "_pem") || name == "pem"
}

// unique tells names apart that have become one: an id may hold any character.
func (n *names) unique(name, divider string) string {
	free := name
	for i := 2; n.taken[free]; i++ {
		free = name + divider + strconv.Itoa(i)
	}
	n.taken[free] = true
	return free
}

// IsMultiline reports whether a value has several lines, so that it belongs into
// a file.
func IsMultiline(value realm.Hidden) bool { return strings.ContainsAny(value.Reveal(), "\r\n") }

// Variable is the environment variable that is named after its parts: upper case,
// with an underscore for whatever a shell would not take.
func Variable(parts ...string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.Join(parts, "_"))
	if c := name[0]; c >= '0' && c <= '9' {
		name = "_" + name
	}
	return name
}

// fileName is a name without what a path or a placeholder would end at.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, name)
}
