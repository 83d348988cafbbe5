package caddymodule

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// questions are what a person is asked, one line each: a screen reader reads them,
// and a terminal without any abilities shows them.
type questions struct {
	cmd *cobra.Command
	// isPerson: somebody is there who answers.
	isPerson bool
	// language is that of the locale, en or zh.
	language string
}

// localeLanguage is the language of the environment, as setlocale(3) finds it.
func localeLanguage() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := os.Getenv(name); value != "" {
			if strings.HasPrefix(value, "zh") {
				return "zh"
			}
			return "en"
		}
	}
	return "en"
}

// say is a text in the person's language.
func (q *questions) say(en, zh string) string { return presets.Text{En: en, Zh: zh}.In(q.language) }

func (q *questions) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(q.cmd.ErrOrStderr(), format+"\n", args...)
}

// tellNeeded tells why a question is asked once more.
func (q *questions) tellNeeded() {
	q.tell("%s", q.say("an answer is needed", "此项必须填写"))
}

// answer is what a flag says, or a person answers; an empty answer is the default.
// "-" is none.
func (q *questions) answer(ctx context.Context, said, flag, question, byDefault string) (string, error) {
	if said != "" {
		return said, nil
	}
	if !q.isPerson {
		return "", fmt.Errorf("%s is missing: nobody is there to ask", flag)
	}
	if byDefault != "" {
		question += " [" + printable(byDefault) + "]"
	}
	for {
		text, err := ask(ctx, q.cmd, question)
		if err != nil {
			return "", err
		}
		switch text = strings.TrimSpace(text); {
		case text == "-":
			return "", nil
		case text != "":
			return text, nil
		case byDefault != "":
			return byDefault, nil
		}
		q.tellNeeded()
	}
}

// field asks for the value of a field, with the help of the catalogue.
func (q *questions) field(ctx context.Context, f presets.Field) (realm.Hidden, error) {
	if help := f.Help.In(q.language); help != "" {
		q.tell("%s", printable(help))
	}
	question := f.Name
	isNeeded := f.Required && f.Default == ""
	switch {
	case f.Default != "":
		question += " [" + printable(f.Default) + "]"
	case !f.Required:
		question += q.say(", optional", "，可选")
	}
	for {
		var value realm.Hidden
		var err error
		if f.Confidential {
			value, err = askHidden(ctx, q.cmd, question)
		} else {
			var text string
			text, err = ask(ctx, q.cmd, question)
			value = realm.Hidden(strings.TrimSpace(text))
		}
		if err != nil || value != "" || !isNeeded {
			return value, err
		}
		q.tellNeeded()
	}
}

// choosePreset finds a provider of the catalogue by a part of its name; "" is
// another one.
func (q *questions) choosePreset(ctx context.Context) (string, error) {
	list := presets.List()
	for {
		text, err := ask(ctx, q.cmd, q.say("provider: a name or a part of it, - for another provider", "提供方：名称或其一部分，- 表示其他提供方"))
		if err != nil {
			return "", err
		}
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "-" {
			return "", nil
		}
		var found []presets.Preset
		for _, p := range list {
			if p.Name == text {
				return p.Name, nil
			}
			if strings.Contains(strings.ToLower(p.Name+"\n"+p.Title.En+"\n"+p.Title.Zh+"\n"+p.Category), text) {
				found = append(found, p)
			}
		}
		name, err := q.pick(ctx, found)
		if err != nil || name != "" {
			return name, err
		}
	}
}

// pick has one of the providers chosen by its number; "" asks again.
func (q *questions) pick(ctx context.Context, found []presets.Preset) (string, error) {
	if len(found) == 0 {
		q.tell("%s", q.say("nothing in the catalogue is called so", "目录中没有这个名称"))
		return "", nil
	}
	for i, p := range found {
		q.tell("%3d  %s  %s", i+1, p.Name, p.Title.In(q.language))
	}
	text, err := ask(ctx, q.cmd, q.say("its number, or nothing to look for another", "编号，留空则重新查找"))
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && n >= 1 && n <= len(found) {
		return found[n-1].Name, nil
	}
	return "", nil
}
