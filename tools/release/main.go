// Command release builds what a release consists of: the program for every
// system, archives, packages, the image for containers, lists of what is in it
// (SBOM), and checksums. The
// same sources, VERSION and Go make the same bytes, whoever builds them, where
// and when.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	r := release{}
	var targets string
	flag.StringVar(&r.Root, "root", ".", "the checkout")
	flag.StringVar(&r.Out, "out", "dist", "the directory to write into; what is in it is removed")
	flag.StringVar(&r.Version, "version", "", "the version, as v1.2.3 (default: the tag of the commit, or a pseudo-version)")
	flag.StringVar(&r.Tags, "tags", "", "the build tags")
	flag.StringVar(&targets, "targets", "all", "the systems, as linux/amd64,linux/arm64")
	flag.BoolVar(&r.ImageOnly, "image", false, "make nothing but the image for containers")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := r.selectTargets(targets)
	if err == nil {
		err = r.Build(ctx)
	}
	if err == nil {
		err = r.printTable()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one release in the making.
type release struct {
	Root, Out string
	// Version is that of the sources, with a v in front.
	Version string
	// Tags are the build tags of the program.
	Tags    string
	Targets []target
	// ImageOnly leaves out everything but the image for containers.
	ImageOnly bool

	// epoch is the time of everything in the release (SOURCE_DATE_EPOCH).
	epoch int64
	// work has what is built on the way.
	work string
	// pages are the completions and man pages, by their paths in an archive.
	pages []entry
	// documents are the files of the checkout that every archive has.
	documents []entry
	// images are those that were made, one for each processor.
	images []builtImage
}

// Build writes the release into r.Out, which it empties first.
func (r *release) Build(ctx context.Context) (err error) {
	if err = r.describe(ctx); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "release-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.work) }()
	if err = os.RemoveAll(r.Out); err != nil {
		return err
	}
	if err = os.MkdirAll(r.Out, 0o755); err != nil { // #nosec G301 -- everybody may read a release
		return err
	}
	if r.documents, err = r.readDocuments(); err != nil {
		return err
	}
	if !r.ImageOnly {
		if r.pages, err = r.makePages(ctx); err != nil {
			return err
		}
	}
	r.images = nil
	for _, t := range r.Targets {
		if err = r.buildTarget(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	if err = r.writeImages(); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return r.writeSums()
}

// buildTarget makes all that a release has for one system.
func (r *release) buildTarget(ctx context.Context, t target) error {
	program, err := r.compile(ctx, t)
	if err != nil {
		return err
	}
	if err := inspect(program, t); err != nil {
		return err
	}
	if t.OS == "linux" {
		image, err := r.makeImage(ctx, program, t)
		if err != nil {
			return fmt.Errorf("image: %w", err)
		}
		r.images = append(r.images, builtImage{t, image})
	}
	if r.ImageOnly {
		return nil
	}
	if err := r.writeSBOM(program, t); err != nil {
		return fmt.Errorf("SBOM: %w", err)
	}
	if err := r.writeArchive(program, t); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if t.OS != "linux" {
		return nil
	}
	for _, format := range []string{"deb", "rpm"} {
		if err := r.writePackage(format, program, t); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// name is the name of a file of the release: caddy-tokens_1.2.3_linux_amd64.
func (r *release) name(t target) string {
	return strings.Join([]string{programName, strings.TrimPrefix(r.Version, "v"), t.OS, t.Arch}, "_")
}

// printTable lists what was made.
func (r *release) printTable() error {
	files, err := os.ReadDir(r.Out)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s in %s\n", r.Version, filepath.Clean(r.Out))
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%s\t%8.2f MB\n", file.Name(), float64(info.Size())/1e6)
	}
	return w.Flush()
}
