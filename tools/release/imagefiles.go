package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is the user and the group of the program in a container: nobody's
// number on common systems, and the one that other images without a shell have.
const imageUser = 65532

// imageFile is an entry of the image's layer.
type imageFile struct {
	// Name has no slash in front; a directory has one at its end.
	Name string
	// Mode is the one of a tar header: with the sticky bit as 01000.
	Mode int64
	// Owner is the user and the group.
	Owner   int
	Content []byte
	// Link is the target of a symbolic link.
	Link string
}

// imageFiles is all that the image has, in alphabetical order. Directories come
// before what is in them.
func (r *release) imageFiles(ctx context.Context, program string) ([]imageFile, error) {
	binary, err := os.ReadFile(program) // #nosec G304 -- built by us
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(r.Root, "deploy", "image", "Caddyfile")) // #nosec G304 -- of the checkout
	if err != nil {
		return nil, err
	}
	files := []imageFile{
		// The documents call the program caddy; the packages, caddy-tokens.
		{Name: "usr/bin/caddy", Mode: 0o755, Content: binary},
		{Name: "usr/bin/" + programName, Mode: 0o777, Link: "caddy"},
		{Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Content: certificates()},
		{Name: "etc/passwd", Mode: 0o644, Content: fmt.Appendf(nil, "root:x:0:0::/:/sbin/nologin\n%s:x:%d:%d::/data:/sbin/nologin\n", programName, imageUser, imageUser)},
		{Name: "etc/group", Mode: 0o644, Content: fmt.Appendf(nil, "root:x:0:\n%s:x:%d:\n", programName, imageUser)},
		// An engine copies both into a volume that is new, and the program writes
		// the file into what else is mounted there (caddy tokens serve).
		{Name: "data/", Mode: 0o700, Owner: imageUser},
		{Name: "data/Caddyfile", Mode: 0o644, Owner: imageUser, Content: config},
		{Name: "tmp/", Mode: 0o1777},
	}
	for _, e := range r.documents {
		if e.Name == "LICENSE" {
			files = append(files, imageFile{Name: "usr/share/doc/" + programName + "/LICENSE", Mode: 0o644, Content: e.Content})
		}
	}
	zones, err := r.timeZones(ctx)
	if err != nil {
		return nil, err
	}
	return withDirectories(append(files, zones...)), nil
}

// certificates are the root certificates of Mozilla, as x/crypto has them: the
// same ones on every machine that builds. A root that Mozilla trusts only for some
// of its certificates is left out, since a file of PEM cannot say for which.
func certificates() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return text.Bytes()
}

// timeZones are those of the Go that builds the program.
func (r *release) timeZones(ctx context.Context) (files []imageFile, err error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Dir = r.Root
	root, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	zones, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("time zones: %w", err)
	}
	defer func() { _ = zones.Close() }()
	for _, zone := range zones.File {
		if zone.FileInfo().IsDir() {
			continue
		}
		content, err := fs.ReadFile(zones, zone.Name)
		if err != nil {
			return nil, err
		}
		files = append(files, imageFile{Name: "usr/share/zoneinfo/" + zone.Name, Mode: 0o644, Content: content})
	}
	return files, nil
}

// withDirectories adds the directories that lead to the files, and sorts all.
func withDirectories(files []imageFile) []imageFile {
	have := make(map[string]bool)
	for _, f := range files {
		have[f.Name] = true
	}
	for _, f := range files {
		for dir := path.Dir(strings.TrimSuffix(f.Name, "/")); dir != "."; dir = path.Dir(dir) {
			if name := dir + "/"; !have[name] {
				have[name] = true
				files = append(files, imageFile{Name: name, Mode: 0o755})
			}
		}
	}
	slices.SortFunc(files, func(a, b imageFile) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

// writeLayer writes the files as a layer, all at one time.
func writeLayer(w io.Writer, files []imageFile, at time.Time) error {
	layer := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, Uid: f.Owner, Gid: f.Owner, Size: int64(len(f.Content)), ModTime: at, Format: tar.FormatUSTAR,
		}
		switch {
		case f.Link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		case strings.HasSuffix(f.Name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := layer.WriteHeader(header); err != nil {
			return err
		}
		if _, err := layer.Write(f.Content); err != nil {
			return err
		}
	}
	return layer.Close()
}
