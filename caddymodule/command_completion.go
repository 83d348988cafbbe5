package caddymodule

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/executable"
)

const completionLong = `
Writes the script by which a shell completes the commands of this program, also
realms, keys and clients of the running instance. It completes the program by the
name that it is called by.

    bash:        source <(caddy tokens completion bash)
    zsh:         caddy tokens completion zsh > "${fpath[1]}/_PROGRAM"
    fish:        caddy tokens completion fish > ~/.config/fish/completions/PROGRAM.fish
    powershell:  caddy tokens completion powershell | Out-String | Invoke-Expression

Ids are asked of the API with what the other commands would show it, for at most a
second.

Exit status: 0, or 1 for an unknown shell.
`

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "completion bash|zsh|fish|powershell",
		Short:                 "Writes the completion script of a shell",
		Long:                  strings.ReplaceAll(completionLong, "PROGRAM", executable.Name()),
		Args:                  cobra.ExactArgs(1),
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			root.Use = executable.Name() // Caddy is caddy to itself, whatever its file is called
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return fmt.Errorf("%q is no shell that is known: write bash, zsh, fish or powershell", args[0])
		},
	}
}
