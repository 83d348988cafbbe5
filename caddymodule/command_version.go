package caddymodule

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// modulePath is the path of this module.
const modulePath = "github.com/caddy-tokens/caddy-tokens"

// releaseVersion is the version of a release, which its linker writes here. Go
// itself would take it from Git only in some kinds of checkouts, and the same
// sources would not make the same program everywhere.
var releaseVersion string

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the version of this plugin, of Caddy and of Go",
		Long:  "\nPrints the version of this plugin, of Caddy and of Go, in one line. It asks no\ninstance.\n\nThe exit status is 0, and 1 if the line could not be written.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ofCaddy, _ := caddy.Version()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "caddy-tokens %s, Caddy %s, %s %s/%s\n",
				pluginVersion(), ofCaddy, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// pluginVersion is the version of this module. In a Caddy that xcaddy built it is
// that of a dependency; a build of a checkout often has none.
func pluginVersion() string {
	if releaseVersion != "" {
		return releaseVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Path == modulePath && info.Main.Version != "" {
			return info.Main.Version
		}
		for _, module := range info.Deps {
			if module.Path == modulePath {
				return module.Version
			}
		}
	}
	return "unknown"
}
