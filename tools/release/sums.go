package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sumsFile has the digest of every other file of a release, in the form that
// `sha256sum --check` reads.
const sumsFile = "SHA256SUMS"

func (r *release) writeSums() error {
	files, err := os.ReadDir(r.Out) // in alphabetical order
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, file := range files {
		sum, err := sha256Of(filepath.Join(r.Out, file.Name()))
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&sums, "%s  %s\n", sum, file.Name())
	}
	return os.WriteFile(filepath.Join(r.Out, sumsFile), []byte(sums.String()), 0o644) // #nosec G306 -- everybody may read a release
}

func sha256Of(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 -- of the release
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
