package main

import (
	"os"
	"path/filepath"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

// writeSBOM lists the modules that a program is made of, read from the program
// itself, as CycloneDX in JSON. It has no serial number, which would be another
// one each time.
func (r *release) writeSBOM(program string, t target) error {
	generator, err := bin.NewGenerator(program,
		bin.WithIncludeStdlib(true), bin.WithVersionOverride(r.Version), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return err
	}
	bom, err := generator.Generate()
	if err != nil {
		return err
	}
	bom.Metadata.Timestamp = r.time().Format(time.RFC3339)
	f, err := os.Create(filepath.Join(r.Out, r.name(t)+".cdx.json"))
	if err != nil {
		return err
	}
	if err := cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
