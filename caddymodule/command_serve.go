package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/deploy/image"
)

const serveLong = `
Runs Caddy with a Caddyfile, as "caddy run" does. It is what a container starts: in
it there is no shell that could prepare anything, and its volume is empty at first.
So it makes the data directory, and writes the default Caddyfile of the image where
there is none. A Caddyfile that is there is left alone.

Exit status: 0 after a signal to stop; 1 if it cannot start.
`

func serveCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Runs Caddy in a container; the first start writes a Caddyfile",
		Long:  serveLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			path, err := filepath.Abs(config)
			if err == nil {
				err = prepareToServe(path, caddy.AppDataDir(), cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			run, _, err := cmd.Root().Find([]string{"run"})
			if err == nil {
				err = run.ParseFlags([]string{"--config", path})
			}
			if err != nil {
				return err
			}
			return run.RunE(run, nil)
		},
	}
	cmd.Flags().StringVar(&config, "config", "Caddyfile", "the Caddyfile")
	return cmd
}

// prepareToServe makes what a start needs on a volume that is empty. The reason
// why one cannot be used is told before Caddy and SQLite tell it in their words.
func prepareToServe(config, data string, notes io.Writer) error {
	unusable := requireWritable(data)
	info, err := os.Stat(config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = unusable; err == nil {
			err = replaceFile(config, image.Caddyfile)
		}
		if err != nil {
			return fmt.Errorf("%s is not there, and the default one cannot be written: %w", config, err)
		}
		_, _ = fmt.Fprintf(notes, "wrote the default configuration into %s\n", config)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory: a container engine makes one where the file that is to be mounted does not exist", config)
	case unusable != nil:
		// With its rows in MySQL an instance can serve nevertheless.
		_, _ = fmt.Fprintf(notes, "warning: %v\n", unusable)
	}
	return nil
}

// requireWritable makes a directory, and fails unless files can be made in it.
func requireWritable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			return errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; this process is user %d of group %d: give the volume to them (chown, or fsGroup in Kubernetes), or run the container as its owner",
			err, os.Geteuid(), os.Getegid())
	}
	return fmt.Errorf("the data directory cannot be used: %w", err)
}
