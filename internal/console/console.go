// Package console serves the built page of the web console. Its sources are in
// console/; what they are built to is compressed, and embedded as it is.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed dist
var built embed.FS

// Built is the page of this program, made once.
var Built = sync.OnceValues(func() (*Page, error) {
	files, err := fs.Sub(built, "dist")
	if err != nil {
		return nil, err
	}
	return New(files)
})

const (
	// indexFile is served at the root. Its name says nothing about what is in it,
	// so that a browser asks each time whether it has changed.
	indexFile = "index.html"
	// assets is where all else is, by names that have a hash of the content.
	assets = "assets/"
	// policy lets the page load what this site has, and nothing else. Nobody may
	// show it in a frame, and it sends no form anywhere.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	permissions = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
)

// types are those of the files that a page may have.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
}

// Page is a page and its assets.
type Page struct {
	files map[string]*file // by the path behind the site's own, without a slash in front
}

// file is one file as it is served.
type file struct {
	kind, cache, tag string
	packed           []byte
	// plain is for who does not take gzip: hardly anybody, so that it is unpacked
	// when somebody asks.
	plain func() ([]byte, error)
}

// New makes a page of files that are compressed with gzip: index.html.gz, and all
// else below assets/.
func New(files fs.FS) (*Page, error) {
	p := &Page{files: make(map[string]*file)}
	err := fs.WalkDir(files, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, packed := strings.CutSuffix(at, ".gz")
		kind := types[path.Ext(name)]
		if !packed || kind == "" || name != indexFile && !strings.HasPrefix(name, assets) {
			return fmt.Errorf("the page has a file %s, which nothing says how to serve", at)
		}
		content, err := fs.ReadFile(files, at)
		if err != nil {
			return err
		}
		p.files[name] = newFile(kind, name, content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if p.files[indexFile] == nil {
		return nil, fmt.Errorf("console: the page has no %s.gz", indexFile)
	}
	p.files[""] = p.files[indexFile]
	delete(p.files, indexFile)
	return p, nil
}

func newFile(kind, name string, packed []byte) *file {
	sum := sha256.Sum256(packed)
	f := &file{kind: kind, cache: "public, max-age=31536000, immutable", tag: hex.EncodeToString(sum[:16]), packed: packed}
	if name == indexFile {
		f.cache = "no-cache"
	}
	f.plain = sync.OnceValues(func() ([]byte, error) {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z) // #nosec G110 -- it is part of this program
	})
	return f
}

// Serves reports whether a request is one for the page: GET or HEAD of something
// that it has, or of anything below assets/.
func (p *Page) Serves(r *http.Request) bool {
	isAsset := strings.HasPrefix(r.URL.EscapedPath(), "/"+assets)
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (isAsset || p.find(r) != nil)
}

// find is the file of a request; nil for none.
func (p *Page) find(r *http.Request) *file {
	return p.files[strings.TrimPrefix(r.URL.EscapedPath(), "/")]
}

// ServeHTTP answers a request that Serves says is for the page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.find(r)
	if f == nil {
		// A page of another version asks for it, which may be there in a moment.
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	for name, value := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": permissions,
		"Cache-Control": f.cache, "Vary": "Accept-Encoding",
	} {
		h.Set(name, value)
	}
	body, tag := f.packed, `"`+f.tag+`"`
	isPacked := takesGzip(r.Header.Values("Accept-Encoding"))
	if !isPacked {
		var err error
		if body, err = f.plain(); err != nil {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		tag = `"` + f.tag + `-plain"` // another form, another tag (RFC 9110 section 8.8.3)
	}
	h.Set("ETag", tag)
	if isKnown(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if isPacked {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // an error means that the caller has gone
	}
}

// isKnown reports whether the caller has the form with this tag (RFC 9110 section
// 13.1.2). A proxy that touched an answer may have made its tag a weak one.
func isKnown(fields []string, tag string) bool {
	for _, field := range fields {
		for known := range strings.SplitSeq(field, ",") {
			known = strings.TrimSpace(known)
			if known == "*" || strings.TrimPrefix(known, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// takesGzip reports whether the caller takes gzip (RFC 9110 section 12.5.3). What
// it says of gzip itself counts more than what it says of everything.
func takesGzip(fields []string) bool {
	byName := map[string]bool{}
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			name, weight, _ := strings.Cut(item, ";")
			key, value, _ := strings.Cut(strings.TrimSpace(weight), "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			isRefused := strings.EqualFold(strings.TrimSpace(key), "q") && (err != nil || q == 0)
			byName[strings.ToLower(strings.TrimSpace(name))] = !isRefused
		}
	}
	if takes, said := byName["gzip"]; said {
		return takes
	}
	return byName["*"]
}
