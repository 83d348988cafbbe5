package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
)

// explainUse makes every error about how a verb was called say how it is called. A
// verb that does not exist is one of them: cobra would show the help and end with 0,
// and a script would go on.
func explainUse(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; %s shows the flags", err, executable.Command(verbOf(cmd)+" --help"))
	})
	for _, verb := range cmd.Commands() {
		explainUse(verb)
	}
	if cmd.HasSubCommands() {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, showVerbs
		if cmd.Long == "" {
			cmd.Long = "\n" + cmd.Short + ".\n\nExit status: 0, or 1 for a command that does not exist.\n"
		}
		return
	}
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil || errors.Is(err, errValueInArguments) {
			return err
		}
		if len(args) > 0 && !strings.ContainsAny(cmd.Use, " ") {
			return fmt.Errorf("surplus argument %q; %s shows how it is called", args[0], executable.Command(verbOf(cmd)+" --help"))
		}
		use := executable.Command(strings.TrimSpace(verbOf(cmd.Parent()) + " " + cmd.Use))
		if wanted := argumentsOf(cmd); len(args) < len(wanted) {
			return fmt.Errorf("%s: write %s", areMissing(wanted[len(args):]), use)
		}
		if strings.HasSuffix(use, " RULE") {
			use += ", with RULE in quotes"
		}
		return errors.New("too many arguments: write " + use)
	}
}

// argumentsOf names the arguments that a verb cannot do without, as its Use says them.
func argumentsOf(cmd *cobra.Command) (names []string) {
	for _, word := range strings.Fields(cmd.Use)[1:] {
		switch {
		case strings.HasPrefix(word, "["), strings.HasPrefix(word, "-"):
			return names
		case word == "ID":
			names = append(names, "the id of the "+cmd.Parent().Name())
		case strings.Contains(word, "|"):
			names = append(names, "the shell")
		default:
			names = append(names, "the "+strings.ToLower(word))
		}
	}
	return names
}

// areMissing says that something is missing: "the realm and the key are missing".
func areMissing(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0] + " is missing"
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are missing"
}

// showVerbs is what a command does that only has verbs.
func showVerbs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, verb := range cmd.Commands() {
		names = append(names, verb.Name())
	}
	near := spelling.DidYouMean(args[0], names)
	if parent := cmd.Parent(); near == "" && verbOf(cmd) != "" && slices.ContainsFunc(parent.Commands(), func(verb *cobra.Command) bool { return verb.Name() == args[0] }) {
		near = "; did you mean '" + executable.Command(args[0]) + "'?"
	}
	return fmt.Errorf("there is no command %q%s; %s lists what there is", args[0], near,
		executable.Command(strings.TrimSpace(verbOf(cmd)+" --help")))
}

// verbOf is how a verb is called behind the word tokens, such as "client add".
func verbOf(cmd *cobra.Command) string {
	if cmd == nil || cmd.Name() == "tokens" {
		return ""
	}
	return strings.TrimSpace(verbOf(cmd.Parent()) + " " + cmd.Name())
}
