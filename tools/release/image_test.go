package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// untar writes a tar file into a directory: modes, owners and links as they stand
// there, for which the test is root.
func untar(t *testing.T, r io.Reader, dir string) (headers []*tar.Header) {
	t.Helper()
	for files := tar.NewReader(r); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil || !filepath.IsLocal(header.Name) {
			t.Fatalf("%v, %v", header, err)
		}
		headers = append(headers, header)
		path := filepath.Join(dir, header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, path)
		case tar.TypeReg:
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				var content []byte
				if content, err = io.ReadAll(files); err == nil {
					err = os.WriteFile(path, content, 0o600)
				}
			}
		default:
			t.Fatalf("%s is of the type %c", header.Name, header.Typeflag)
		}
		if err == nil {
			err = os.Lchown(path, header.Uid, header.Gid)
		}
		if err == nil && header.Typeflag != tar.TypeSymlink {
			err = os.Chmod(path, header.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// imageOf is the image for a processor as an engine finds it: by the index of the
// layout.
func imageOf(t *testing.T, target target) v1.Image {
	t.Helper()
	f, err := os.Open(released(t, "caddy-tokens_*_image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	headers := untar(t, f, dir)
	for i, header := range headers {
		if header.ModTime.Unix() != testEpoch || header.Uid != 0 || i > 0 && headers[i-1].Name >= header.Name {
			t.Errorf("%s: time %v, user %d, after %s", header.Name, header.ModTime, header.Uid, headers[max(i-1, 0)].Name)
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := outer.IndexManifest()
	if err != nil || len(names.Manifests) != 1 || names.Manifests[0].MediaType != types.OCIImageIndex ||
		names.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/library/caddy-tokens:1.2.3-rc.1" ||
		names.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.2.3-rc.1" {
		t.Fatalf("%+v, %v", names, err)
	}
	index, err := outer.ImageIndex(names.Manifests[0].Digest)
	if err == nil {
		err = validate.Index(index)
	}
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifests.Manifests {
		if m.Platform.OS == target.OS && m.Platform.Architecture == target.Arch && m.MediaType == types.OCIManifestSchema1 {
			image, err := index.Image(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return image
		}
	}
	t.Fatalf("no image for %s in %+v", target, manifests)
	return nil
}

// rootFS unpacks an image into a directory, as an engine does.
func rootFS(t *testing.T, image v1.Image) (dir string, headers []*tar.Header) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("files of an image belong to root: please run this test as root, or by sudo")
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	layer, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	dir = t.TempDir()
	return dir, untar(t, layer, dir)
}

// imageTargets are the systems that have an image.
func imageTargets() []target {
	return slices.DeleteFunc(slices.Clone(built.Targets), func(t target) bool { return t.OS != "linux" })
}

// TestImage: what is in the image, to whom it belongs, and that nothing in it is
// confidential or gives rights.
func TestImage(t *testing.T) {
	for _, target := range imageTargets() {
		image := imageOf(t, target)
		root, headers := rootFS(t, image)
		byName := map[string]*tar.Header{}
		for i, h := range headers {
			byName[h.Name] = h
			isData := h.Name == "data/" || h.Name == "data/Caddyfile"
			switch {
			case i > 0 && headers[i-1].Name >= h.Name:
				t.Errorf("%s comes after %s", h.Name, headers[i-1].Name)
			case h.ModTime.Unix() != testEpoch:
				t.Errorf("%s has the time %v", h.Name, h.ModTime)
			case h.Mode&0o6000 != 0 || len(h.PAXRecords) > 0:
				t.Errorf("%s gives rights: %o, %v", h.Name, h.Mode, h.PAXRecords)
			case h.Mode&0o022 != 0 && h.Name != "tmp/" && h.Typeflag != tar.TypeSymlink:
				t.Errorf("everybody may change %s: %o", h.Name, h.Mode)
			case isData != (h.Uid == imageUser) || isData != (h.Gid == imageUser) || !isData && h.Uid+h.Gid != 0:
				t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
			case strings.Contains(h.Name, "tokens.") || strings.HasSuffix(h.Name, ".key"):
				t.Errorf("%s does not belong into an image", h.Name)
			}
		}
		for name, mode := range map[string]int64{
			"usr/bin/caddy": 0o755, "etc/passwd": 0o644, "etc/group": 0o644, "etc/ssl/certs/ca-certificates.crt": 0o644,
			"usr/share/zoneinfo/Asia/Shanghai": 0o644, "usr/share/doc/caddy-tokens/LICENSE": 0o644,
			"data/": 0o700, "data/Caddyfile": 0o644, "tmp/": 0o1777,
		} {
			if h := byName[name]; h == nil || h.Mode != mode {
				t.Errorf("%s: %+v", name, h)
			}
		}
		read := func(name string) []byte {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Error(err)
			}
			return text
		}
		// The program is the very one of the archive, and both names lead to it.
		want, err := os.ReadFile(program(t, target))
		if err != nil || !bytes.Equal(read("usr/bin/caddy"), want) || !bytes.Equal(read("usr/bin/caddy-tokens"), want) {
			t.Errorf("%s: the image has another program than the archive (%v)", target, err)
		}
		if err := inspect(filepath.Join(root, "usr/bin/caddy"), target); err != nil {
			t.Error(err)
		}
		if config, err := os.ReadFile("../../deploy/image/Caddyfile"); err != nil || !bytes.Equal(read("data/Caddyfile"), config) {
			t.Errorf("the Caddyfile is not that of deploy/image (%v)", err)
		}
		checkRoots(t, read("etc/ssl/certs/ca-certificates.crt"))
		if zone, err := time.LoadLocationFromTZData("Asia/Shanghai", read("usr/share/zoneinfo/Asia/Shanghai")); err != nil || time.Unix(testEpoch, 0).In(zone).Hour() != 8 {
			t.Errorf("the time zone: %v", err)
		}
		checkConfig(t, image, target)
	}
}

// checkRoots: every certificate of the file is the root of an authority, and those
// that sign the most are there.
func checkRoots(t *testing.T, text []byte) {
	t.Helper()
	names := map[string]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !root.IsCA {
			t.Fatalf("%v, %v", root, err)
		}
		names[root.Subject.CommonName] = true
	}
	for _, name := range []string{"ISRG Root X1", "DigiCert Global Root G2", "GTS Root R1", "USERTrust RSA Certification Authority"} {
		if !names[name] {
			t.Errorf("%s is not among the %d roots", name, len(names))
		}
	}
}

// checkConfig: how an engine starts the image.
func checkConfig(t *testing.T, image v1.Image, target target) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != target.OS || config.Architecture != target.Arch || config.Created.Unix() != testEpoch || len(config.History) != 1 {
		t.Errorf("%+v", config)
	}
	c := config.Config
	if c.User != "65532:65532" || c.WorkingDir != "/data" || len(c.Volumes) != 0 || c.Labels["org.opencontainers.image.version"] != "1.2.3-rc.1" {
		t.Errorf("%+v", c)
	}
	if got := strings.Join(slices.Concat(c.Entrypoint, c.Cmd), " "); got != "/usr/bin/caddy tokens serve" {
		t.Errorf("it starts %s", got)
	}
	if c.Healthcheck == nil || strings.Join(c.Healthcheck.Test, " ") != "CMD /usr/bin/caddy tokens status --ready" || c.Healthcheck.Timeout <= 3*time.Second {
		t.Errorf("the health check is %+v", c.Healthcheck)
	}
}

// TestImageForOlderDocker: the same file has the list of docker save, whose images
// are those of the layout.
func TestImageForOlderDocker(t *testing.T) {
	file := released(t, "caddy-tokens_*_image.tar")
	for _, target := range imageTargets() {
		tag, err := name.NewTag("caddy-tokens:1.2.3-rc.1-" + target.Arch)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(file, &tag)
		if err == nil {
			err = validate.Image(image)
		}
		if err != nil {
			t.Fatal(err)
		}
		one, err := image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		if other, err := imageOf(t, target).ConfigName(); err != nil || one != other {
			t.Errorf("%s: %s and %s, %v", target, one, other, err)
		}
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(file) })
	if err != nil || len(manifest) != len(imageTargets()) {
		text, _ := json.Marshal(manifest)
		t.Errorf("%s, %v", text, err)
	}
}
