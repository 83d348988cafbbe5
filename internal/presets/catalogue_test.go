package presets_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// faults are what a preset's file has wrong, beyond what realm.Decode finds.
func faults(p presets.Preset) (found []string) {
	fault := func(is bool, what string) {
		if is {
			found = append(found, what)
		}
	}
	text := func(t presets.Text, what string) {
		for _, s := range []string{t.En, t.Zh} {
			fault(strings.TrimSpace(s) != s || s == "", what+" is empty in a language, or has a blank around it")
			fault(strings.ContainsAny(s, "\n\r|<"), what+" has a line break, a bar or a <, which a page cannot have")
		}
		fault(!hasHan(t.Zh), what+" is not Chinese under zh")
		fault(hasHan(t.En), what+" is not English under en")
	}
	title := p.Title
	title.Zh += "，" // names like OpenAI need no other spelling
	fault(p.Title.En == "" || p.Title.Zh == "", "title is missing in a language")
	fault(hasHan(title.En), "title is not English under en")
	fault(!slices.Contains(presets.Categories, p.Category), "category "+p.Category+" is not known; there are "+strings.Join(presets.Categories, ", "))
	fault(!nameForm.MatchString(p.Name), "the name is not lower case letters, digits and _")

	known := map[string]bool{}
	for _, f := range p.Fields {
		fault(known[f.Name], "field "+f.Name+" stands there twice")
		known[f.Name] = true
		text(f.Help, "help of "+f.Name)
		isOptional := f.Default != "" || f.Name == parentField || slices.Contains(pushFields(p.Config.Push), f.Name)
		fault(f.Required == isOptional, "field "+f.Name+" must be required, or have a default that shared has, or be parent or one of push")
		fault(f.Default != p.Config.Shared[f.Name].Reveal(), "the default of "+f.Name+" is not what shared has")
		fault(f.Pushed != slices.Contains(p.Config.Volatile, f.Name), "field "+f.Name+" must be pushed exactly where volatile names it")
	}
	fault(len(p.Docs) == 0, "docs is empty")
	for _, page := range p.Docs {
		fault(!strings.HasPrefix(page, "https://"), "docs has "+page)
	}
	fault(len(p.Notes.En) == 0 || len(p.Notes.En) != len(p.Notes.Zh), "notes must be as many in both languages, and one at least")
	for i := range min(len(p.Notes.En), len(p.Notes.Zh)) {
		text(presets.Text{En: p.Notes.En[i], Zh: p.Notes.Zh[i]}, "a note")
	}
	for _, e := range p.Errors {
		fault(e.Code == "", "an error has no code")
		text(e.Advice(), "error "+e.Code)
	}
	for _, u := range p.Unverified {
		text(u, "unverified")
	}
	fault((p.Example != nil) != (len(p.Config.Inject) > 0), "there must be an example exactly where the config has inject")
	if p.Example != nil {
		fault(p.Example.Method == "" || !strings.HasPrefix(p.Example.Path, "/"), "the example needs a method and a path")
		fault((p.Example.Body == "") != (p.Example.ContentType == ""), "the example needs a content_type with its body")
	}
	return found
}

// parentField names the key of the parent's secret, where a recipe reads
// {token_of.<realm>} without one.
const parentField = "parent"

// pushFields are those that token_push reads beside the fields of the config. A
// secret whose ticket comes by the API does without them.
func pushFields(format string) []string {
	switch format {
	case realm.PushWeCom: // its URL is verified for the corporation
		return []string{"push_token", "push_aes_key", "corpid"}
	case realm.PushWeChat, realm.PushFeishu:
		return []string{"push_token", "push_aes_key"}
	}
	return nil
}

var parentUse = regexp.MustCompile(`\{token_of\.[^.}]+\}|\{token_of\["[^"]+"\]\}`)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

var han = regexp.MustCompile(`\p{Han}`)

func hasHan(s string) bool { return han.MatchString(s) }

func TestEveryFileHasTheForm(t *testing.T) {
	for _, name := range presets.Names() {
		p, err := presets.Get(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Name != name {
			t.Errorf("%s: the name in the file is %q", name, p.Name)
		}
		for _, fault := range faults(p) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	if got, want := len(presets.List()), len(presets.Names()); got != want {
		t.Errorf("List has %d of %d presets", got, want)
	}
}

// Each fault is found: a check that finds none would let everything in.
func TestFaultsAreFound(t *testing.T) {
	for want, spoil := range map[string]func(*presets.Preset){
		"title is missing":                      func(p *presets.Preset) { p.Title.Zh = "" },
		"title is not English":                  func(p *presets.Preset) { p.Title.En = "微信" },
		"category x is not known":               func(p *presets.Preset) { p.Category = "x" },
		"field appid stands there twice":        func(p *presets.Preset) { p.Fields = append(p.Fields, p.Fields[0]) },
		"help of appid is empty":                func(p *presets.Preset) { p.Fields[0].Help.En = "" },
		"help of appid is not Chinese":          func(p *presets.Preset) { p.Fields[0].Help.Zh = "AppID" },
		"field appid must be required":          func(p *presets.Preset) { p.Fields[0].Required = false },
		"the default of appid":                  func(p *presets.Preset) { p.Fields[0].Default = "x" },
		"field appid must be pushed":            func(p *presets.Preset) { p.Fields[0].Pushed = true },
		"docs is empty":                         func(p *presets.Preset) { p.Docs = nil },
		"docs has http:":                        func(p *presets.Preset) { p.Docs = []string{"http://x.example"} },
		"notes must be as many":                 func(p *presets.Preset) { p.Notes.Zh = p.Notes.Zh[1:] },
		"a note has a line break,":              func(p *presets.Preset) { p.Notes.En[0] = "a\nb" },
		"help of appid has a line break, a bar": func(p *presets.Preset) { p.Fields[0].Help.En = "<key>" },
		"an error has no code":                  func(p *presets.Preset) { p.Errors[0].Code = "" },
		"error 40164 is not Chinese":            func(p *presets.Preset) { p.Errors[0].Zh = "x" },
		"unverified is empty":                   func(p *presets.Preset) { p.Unverified = append(p.Unverified, presets.Text{}) },
		"there must be an example exactly":      func(p *presets.Preset) { p.Example = nil },
		"the example needs a method":            func(p *presets.Preset) { p.Example.Path = "x" },
		"the example needs a content_type":      func(p *presets.Preset) { p.Example.Body = "{}" },
		"the name is not lower case letters":    func(p *presets.Preset) { p.Name = "We Chat" },
		"error 40164 has a line break, a bar ":  func(p *presets.Preset) { p.Errors[0].En = "a|b" },
	} {
		p, err := presets.Get("wechat")
		if err != nil {
			t.Fatal(err)
		}
		if spoil(&p); !slices.ContainsFunc(faults(p), func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%q is not found: %q", want, faults(p))
		}
	}
}

// What a secret must have is exactly what the page asks people for.
func TestFieldsAreThoseThatTheConfigReads(t *testing.T) {
	for _, p := range presets.List() {
		config := apply(t, realm.Config{Preset: p.Name})
		config.Preset = ""
		program, err := grant.Compile(realm.Realm{ID: p.Name, Config: config}, false)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		needed := program.NeededFields()
		if program.Fetches() && !program.CanFetch() && !program.CanAuthorize() {
			needed = append(needed, "refresh_token") // the secret holds the first one
		}
		var listed []string
		for _, f := range p.Fields {
			listed = append(listed, f.Name)
		}
		needed = slices.DeleteFunc(needed, func(name string) bool { return name == parentField })
		if parentUse.MatchString(encode(t, config)) {
			needed = append(needed, parentField)
		}
		needed = append(append(needed, config.Volatile...), pushFields(config.Push)...)
		slices.Sort(needed)
		slices.Sort(listed)
		if needed = slices.Compact(needed); !slices.Equal(needed, listed) {
			t.Errorf("%s: the config reads %v, and fields has %v", p.Name, needed, listed)
		}
	}
}

// Nobody can change the catalogue by what was taken out of it.
func TestGetGivesAnotherValueEachTime(t *testing.T) {
	first, err := presets.Get("wechat")
	if err != nil {
		t.Fatal(err)
	}
	first.Fields[0].Name, first.Config.Arguments[0].Name = "changed", "changed"
	if second, _ := presets.Get("wechat"); second.Fields[0].Name == "changed" || second.Config.Arguments[0].Name == "changed" {
		t.Error("a preset was changed")
	}
}
