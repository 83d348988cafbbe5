package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageConfig is how a container starts. deploy/Dockerfile says the same.
func (r *release) imageConfig() v1.Config {
	return v1.Config{
		Env:        []string{"PATH=/usr/bin", "HOME=/data", "XDG_CONFIG_HOME=/data", "XDG_DATA_HOME=/data"},
		User:       fmt.Sprintf("%d:%d", imageUser, imageUser),
		WorkingDir: "/data",
		ExposedPorts: map[string]struct{}{
			"8080/tcp": {},
			"8081/tcp": {},
		},
		Entrypoint: []string{"/usr/bin/caddy"},
		Cmd:        []string{"tokens", "serve"},
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/usr/bin/caddy", "tokens", "status", "--ready"},
			Interval: 30 * time.Second, Timeout: 5 * time.Second, StartPeriod: 30 * time.Second, Retries: 3,
		},
		Labels: r.imageLabels(),
	}
}

// imageLabels describe the image in the words of the OCI.
func (r *release) imageLabels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         programName,
		"org.opencontainers.image.description":   packageSummary,
		"org.opencontainers.image.version":       strings.TrimPrefix(r.Version, "v"),
		"org.opencontainers.image.created":       r.time().Format(time.RFC3339),
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.source":        "https://github.com/caddy-tokens/caddy-tokens",
		"org.opencontainers.image.documentation": "https://github.com/caddy-tokens/caddy-tokens/blob/main/docs/operations.md",
	}
}

// makeImage makes the image for one processor: a single layer on nothing.
func (r *release) makeImage(ctx context.Context, program string, t target) (v1.Image, error) {
	files, err := r.imageFiles(ctx, program)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	if err := writeLayer(&packed, files, r.time()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithCompression(compression.GZip), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching,
	)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: t.Arch, OS: t.OS, Created: v1.Time{Time: r.time()}, Config: r.imageConfig(), RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: r.time()}, CreatedBy: "make image"},
	})
}

// builtImage is the image for one processor.
type builtImage struct {
	target
	v1.Image
}

// writeImages writes the images for all processors into one tar file that is two
// things: an OCI layout with an index, for registries and newer engines, and a
// manifest.json that lists each image by its own tag, for the store of older
// Dockers, which knows no index.
func (r *release) writeImages() error {
	if len(r.images) == 0 {
		return nil // a release of no Linux
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range r.images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: i.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: i.OS, Architecture: i.Arch}},
		})
	}
	dir := filepath.Join(r.work, "image")
	path, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	// The names under which containerd (Docker) and others (skopeo) look for it.
	tag := r.imageTag()
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          "docker.io/library/" + programName + ":" + tag,
		"org.opencontainers.image.ref.name": tag,
	})); err != nil {
		return err
	}
	if err := writeDockerManifest(dir, tag, r.images); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.Out, r.imageName()))
	if err != nil {
		return err
	}
	if err := writeDirectory(f, dir, r.time()); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// imageName is the name of the file with the images.
func (r *release) imageName() string {
	return programName + "_" + strings.TrimPrefix(r.Version, "v") + "_image.tar"
}

// imageTag is the version as a tag, in which no + may stand.
func (r *release) imageTag() string {
	return strings.ReplaceAll(strings.TrimPrefix(r.Version, "v"), "+", "-")
}

// writeDockerManifest writes the list that the older stores of Docker read. Its
// blobs are those of the layout.
func writeDockerManifest(dir, tag string, images []builtImage) error {
	var manifest tarball.Manifest
	for _, i := range images {
		config, err := i.ConfigName()
		if err != nil {
			return err
		}
		layers, err := i.Layers()
		if err != nil {
			return err
		}
		d := tarball.Descriptor{Config: blobPath(config), RepoTags: []string{programName + ":" + tag + "-" + i.Arch}}
		for _, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				return err
			}
			d.Layers = append(d.Layers, blobPath(digest))
		}
		manifest = append(manifest, d)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600)
}

// blobPath is where a layout has a blob.
func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// writeDirectory writes the files below a directory as a tar file, in alphabetical
// order and at one time.
func writeDirectory(w io.Writer, dir string, at time.Time) error {
	files := tar.NewWriter(w)
	root := os.DirFS(dir)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := root.Open(filepath.ToSlash(name))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := files.WriteHeader(&tar.Header{
			Name: filepath.ToSlash(name), Size: info.Size(), Mode: 0o644, ModTime: at, Format: tar.FormatUSTAR,
		}); err != nil {
			return err
		}
		_, err = io.Copy(files, f)
		return err
	})
	if err != nil {
		return err
	}
	return files.Close()
}
