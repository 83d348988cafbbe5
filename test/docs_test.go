package test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var readmes = []string{"../README.md", "../README.zh-CN.md"}

// pages are the documents for users.
func pages(t *testing.T) []string {
	t.Helper()
	below, err := filepath.Glob("../docs/*.md")
	if err != nil || len(below) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return slices.Concat(readmes, below)
}

// catalogue are the generated pages of the providers. Their Caddyfiles are tested
// in the package caddymodule, without a process for each.
func catalogue(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, folder := range []string{"../docs/providers", "../docs/zh-CN/providers"} {
		found, err := filepath.Glob(folder + "/*.md")
		if err != nil || len(found) < 2 {
			t.Fatalf("no pages of providers: %v", err)
		}
		all = append(all, found...)
	}
	return all
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) // #nosec G304 -- our own files
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is a fenced block of a page.
type block struct {
	page string
	lang string
	// within says where a part of a Caddyfile belongs: "" for a whole file,
	// "tokens" or "site" for the inside of such a block, "realm" for the inside
	// of any realm, and "realm crm" or "site x.example.com" for the inside of
	// the one that an earlier block of the page has. It is the second half of
	// the fence's info string, which no reader sees.
	within string
	text   string
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)[ ]?([^\n]*)\n(.*?)^```$")

func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	var blocks []block
	for _, m := range fence.FindAllStringSubmatch(readDoc(t, page), -1) {
		blocks = append(blocks, block{page: page, lang: m[1], within: m[2], text: m[3]})
	}
	return blocks
}

// whole is the Caddyfile that results when a reader puts the last block where
// it belongs, among those before it.
func whole(t *testing.T, blocks []block) string {
	t.Helper()
	last := blocks[len(blocks)-1]
	kind, name, named := strings.Cut(last.within, " ")
	if named {
		head := strings.TrimPrefix(kind+" ", "site ") + name + " {\n"
		for i, b := range blocks[:len(blocks)-1] {
			if b.lang == "caddyfile" && strings.Contains("\n"+b.text, "\n"+head) {
				b.text = strings.TrimSuffix(b.text, "}\n") + last.text + "}\n"
				return whole(t, append(slices.Clone(blocks[:i]), b))
			}
		}
		t.Fatalf("%s: no block before has %q", last.page, head)
	}
	switch last.within {
	case "":
		return last.text
	case "tokens":
		return "{\n\ttokens {\n" + last.text + "\t}\n}\n"
	case "realm":
		return "{\n\ttokens {\n\t\trealm any {\n" + last.text + "\t\t}\n\t}\n}\n"
	case "site":
		return ":8080 {\n" + last.text + "}\n"
	}
	t.Fatalf("%s: a block is within %q, which is nothing that can be", last.page, last.within)
	return ""
}

// Every Caddyfile in a document, and every part of one, is valid where it
// belongs, and formatted as `caddy fmt` formats it.
func TestDocsCaddyfiles(t *testing.T) {
	t.Parallel()
	for _, page := range slices.Concat(pages(t), translations(t)) {
		t.Run(strings.TrimPrefix(page, "../"), func(t *testing.T) {
			t.Parallel()
			blocks := blocksOf(t, page)
			for i, b := range blocks {
				if b.lang != "caddyfile" || isCopy(t, page, i, b) {
					continue
				}
				files := newReadersFiles(t)
				for args, text := range map[string]string{"fmt --diff": b.text, "validate --config": files.replace(whole(t, blocks[:i+1]))} {
					path := filepath.Join(t.TempDir(), "Caddyfile")
					if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					if out, err := commandWith(t, files.environment(text), append(strings.Fields(args), path)...); err != nil {
						t.Errorf("caddy %s: %v\n%s\n%s", args, err, out, text)
					}
				}
			}
		})
	}
}

// Every curl of a document works, as it stands, on the configuration that a
// reader has at that place: Caddyfile.example, or what the page told before. Those
// of a translation are the same (TestTranslationsKeepStep).
func TestDocsRequests(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			r.follow(blocksOf(t, page))
			if slices.Contains(readmes, page) && r.requests < 5 {
				t.Errorf("the page has %d requests", r.requests)
			}
		})
	}
}

// The four realms of each README work, and heal: when the provider ends the
// token early, the caller does not notice.
func TestReadmeRealmsHeal(t *testing.T) {
	t.Parallel()
	for _, readme := range readmes {
		t.Run(filepath.Base(readme), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			r.follow(beforeExample(blocksOf(t, readme)))
			r.node().keepsSecret(r.world.wechat, "wx-secret-01", "crm-secret-01")
			calls := map[string]func() (issued, dead int){
				"/wechat/main/cgi-bin/get_api_domain_ip": countsOf(r.world.wechat),
				"/wecom/main/cgi-bin/department/list":    countsOf(r.world.wecom),
				"/crm/main/contacts":                     countsOf(r.world.oauth),
				"/github/main/repos/octo/hello":          r.world.github.counts,
			}
			for path := range calls {
				r.node().get(r.node().proxy+path, 200)
			}
			r.world.revoke()
			for path, counts := range calls {
				r.node().get(r.node().proxy+path, 200)
				if issued, dead := counts(); issued != 2 || dead != 1 {
					t.Errorf("%s: %d tokens issued, %d calls with a dead one; want 2 and 1", path, issued, dead)
				}
			}
		})
	}
}

// force_refresh of the READMEs' realm for WeChat is a boolean, as the provider
// wants it, and true when a new token is wanted.
func TestReadmeWeChatFlush(t *testing.T) {
	for _, readme := range readmes {
		r := newReader(t)
		r.follow(beforeExample(blocksOf(t, readme)))
		before := r.node().token("wechat", "main").Token
		r.world.passed.Store(int64(forceGap)) // a token forced within 30 s of the last one would be the same
		r.node().get(r.node().admin+"/api/token?realm=wechat&key=main&flush=true", 200)
		if after := r.node().token("wechat", "main").Token; after == before || after != r.world.wechat.Newest() {
			t.Errorf("%s: a flush did not bring a new token", readme)
		}
	}
}

// The READMEs are front pages: short, with the commands that a newcomer needs as
// they stand, and in Chinese with the four words at the top.
func TestReadmeIsAFrontPage(t *testing.T) {
	for _, readme := range readmes {
		text := readDoc(t, readme)
		if n := strings.Count(text, "\n"); n < 120 || n > 150 {
			t.Errorf("%s has %d lines; 120 to 150 are meant", readme, n)
		}
		for _, want := range []string{
			"\ngo run ./cmd/xcaddy-build run --config Caddyfile.example\n", "`make test`",
			"`xcaddy build --with github.com/caddy-tokens/caddy-tokens`", "```mermaid\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not have %q", readme, want)
			}
		}
	}
	const words = "# caddy-tokens\n\nrealm＝服务商接入配置；secret＝一组凭据；key＝这组凭据的名字；token＝access_token。\n"
	if !strings.HasPrefix(readDoc(t, readmes[1]), words) {
		t.Error("README.zh-CN.md does not begin with the words")
	}
	if en, zh := whatRuns(t, readmes[0]), whatRuns(t, readmes[1]); !slices.Equal(en, zh) {
		t.Error("the READMEs have different Caddyfiles or commands")
	}
}

// whatRuns are the Caddyfiles and commands of a page.
func whatRuns(t *testing.T, page string) (texts []string) {
	t.Helper()
	for _, b := range blocksOf(t, page) {
		if b.lang == "caddyfile" || b.lang == "sh" {
			texts = append(texts, b.text)
		}
	}
	return texts
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link within the repository leads to a file, and to a heading of it.
func TestDocsLinks(t *testing.T) {
	for _, page := range slices.Concat(pages(t), translations(t), catalogue(t), []string{"../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md"}) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(readDoc(t, page), ""), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			text := readDoc(t, target)
			if anchor != "" && !slices.Contains(anchors(text), anchor) {
				t.Errorf("%s: the link %s leads to no heading", page, m[1])
			}
		}
	}
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(text string) (names []string) {
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}

// CHANGELOG.md says each thing once, in lines that an editor shows whole. Two
// changes at a time easily leave an entry twice.
func TestDocsChangelog(t *testing.T) {
	beginning := regexp.MustCompile(`^- .{1,60}`)
	seen := map[string]bool{}
	for line := range strings.Lines(readDoc(t, "../CHANGELOG.md")) {
		if entry := beginning.FindString(line); entry != "" {
			if seen[entry] {
				t.Errorf("twice: %s", line)
			}
			seen[entry] = true
		}
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 130 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	if len(seen) == 0 {
		t.Error("there is no entry")
	}
}

var (
	testName  = regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w+`)
	goFile    = regexp.MustCompile(`[\w/*]+\.go\b`)
	address   = regexp.MustCompile(`https?://[^\s)>]+`) // of files that are not ours
	invariant = regexp.MustCompile(`(?m)^\| [IC]\d+ \|.*$`)
	quoted    = regexp.MustCompile(`"([^"]+)"`)
)

// The documents send a reader to tests, mutants and source files that exist:
// whoever renames one has to correct the sentence about it.
func TestDocsNameWhatExists(t *testing.T) {
	files, source := sources(t)
	for _, page := range append(slices.Concat(pages(t), translations(t), catalogue(t)), "../CONTRIBUTING.md") {
		text := address.ReplaceAllString(readDoc(t, page), "")
		for _, name := range testName.FindAllString(text, -1) {
			if !strings.Contains(source, "\nfunc "+name+"(") {
				t.Errorf("%s names %s, which is no test", page, name)
			}
		}
		for _, name := range goFile.FindAllString(text, -1) {
			if !slices.ContainsFunc(files, func(file string) bool { return endsLike(file, name) }) {
				t.Errorf("%s names %s, which is no file", page, name)
			}
		}
		for _, row := range invariant.FindAllString(text, -1) {
			for _, m := range quoted.FindAllStringSubmatch(row, -1) {
				if !strings.Contains(source, "\t{\""+m[1]) {
					t.Errorf("%s names %q, which is no mutant", page, m[1])
				}
			}
		}
	}
}

// endsLike reports whether a path ends like a pattern, which may have a part of
// the directories.
func endsLike(file, pattern string) bool {
	segments := strings.Split(file, "/")
	last := max(len(segments)-strings.Count(pattern, "/")-1, 0)
	matches, err := path.Match(pattern, strings.Join(segments[last:], "/"))
	return err == nil && matches
}

// sources are the paths of all source files, and the text of all tests.
func sources(t *testing.T) (files []string, tests string) {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			files = append(files, filepath.ToSlash(path))
			if strings.HasSuffix(path, "_test.go") {
				b.WriteString(readDoc(t, path))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, b.String()
}

// TestTroubleshooting: every code has a section that says what to do about it.
func TestTroubleshooting(t *testing.T) {
	codes := regexp.MustCompile(`Code\w+ +Code = "(\w+)"`).FindAllStringSubmatch(readDoc(t, "../realm/errors.go"), -1)
	if len(codes) < 20 {
		t.Fatalf("realm/errors.go has another form: %d codes", len(codes))
	}
	heads := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(readDoc(t, "../docs/troubleshooting.md"), -1)
	var explained []string
	for _, head := range heads {
		explained = append(explained, strings.Split(head[1], ", ")...)
	}
	for _, code := range codes {
		if !slices.Contains(explained, code[1]) {
			t.Errorf("docs/troubleshooting.md does not explain %s", code[1])
		}
	}
}
