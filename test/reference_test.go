package test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documented are the names in the first column of the tables of a page whose
// head begins with this word; a name stands there once for each row.
func documented(t *testing.T, page, head string) (names []string) {
	t.Helper()
	inTable := false
	for line := range strings.Lines(readDoc(t, page)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case strings.HasPrefix(line, "| "+head+" |"):
			inTable = true
		case inTable:
			cell, _, _ := strings.Cut(line[1:], " | ")
			for _, m := range code.FindAllStringSubmatch(cell, -1) {
				names = append(names, m[1])
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no table whose head begins with %q", page, head)
	}
	return names
}

var code = regexp.MustCompile("`([^`]+)`")

// parsed are the options that the parsers of the Caddyfile know, once for each
// block that has an option of that name. They are read from the source: every
// map literal of the type options or map[string]option is the list of a block,
// and so are the names that takeOptions and unmarshalGateway are given.
func parsed(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../caddymodule/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CompositeLit:
				if isOptions(node.Type) {
					for _, element := range node.Elts {
						names = append(names, literals(element.(*ast.KeyValueExpr).Key)...)
					}
				}
			case *ast.CallExpr:
				if name, ok := node.Fun.(*ast.Ident); ok && (name.Name == "takeOptions" || name.Name == "unmarshalGateway") {
					names = append(names, literals(node.Args...)...)
				}
			}
			return true
		})
	}
	if len(names) < 60 {
		t.Fatalf("%d options were found in the parsers: they are written in another way now", len(names))
	}
	return names
}

func isOptions(kind ast.Expr) bool {
	switch kind := kind.(type) {
	case *ast.Ident:
		return kind.Name == "options"
	case *ast.MapType:
		value, ok := kind.Value.(*ast.Ident)
		return ok && value.Name == "option"
	}
	return false
}

// literals are those of the expressions that are text of one word.
func literals(expressions ...ast.Expr) (texts []string) {
	for _, e := range expressions {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil && !strings.Contains(text, " ") {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// grammarOf are the first words of the lines in a page's grammar blocks, which
// are the fenced ones of no language. "a|b" are two.
func grammarOf(t *testing.T, page string) (names []string) {
	t.Helper()
	for _, b := range blocksOf(t, page) {
		if b.lang != "" {
			continue
		}
		for line := range strings.Lines(b.text) {
			first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			names = append(names, strings.Split(first, "|")...)
		}
	}
	return names
}

// docs/caddyfile.md lists every option that a parser knows, in a table of each
// block that has it, and no other.
func TestDocsListEveryOption(t *testing.T) {
	known, listed := parsed(t), documented(t, "../docs/caddyfile.md", "option")
	count := func(names []string, name string) (n int) {
		for _, other := range names {
			if other == name {
				n++
			}
		}
		return n
	}
	grammar := grammarOf(t, "../docs/caddyfile.md")
	for _, name := range known {
		if !slices.Contains(grammar, name) {
			t.Errorf("no grammar block of docs/caddyfile.md has the option %s", name)
		}
		if want, got := count(known, name), count(listed, name); got < want {
			t.Errorf("blocks with the option %s in the parsers: %d, rows of docs/caddyfile.md: %d", name, want, got)
		}
	}
	for _, name := range listed {
		if !slices.Contains(known, name) {
			t.Errorf("docs/caddyfile.md lists %s, which no parser knows", name)
		}
	}
}

// Every word that a field of a realm may have stands in the reference.
func TestDocsListEveryWord(t *testing.T) {
	schemas := openAPI(t).Components.Schemas
	text := readDoc(t, "../docs/caddyfile.md")
	words := 0
	for _, schema := range []string{"Config", "Recipe", "Argument", "Grant", "Injection"} {
		for name, field := range schemas[schema].Properties {
			for _, word := range field.Enum {
				words++
				if word != "url" && !strings.Contains(text, "`"+word+"`") { // a place that the Caddyfile calls query
					t.Errorf("docs/caddyfile.md does not say that %s may be %s", name, word)
				}
			}
		}
	}
	if words < 30 {
		t.Errorf("openapi.json has %d words", words)
	}
}

type openAPIDocument struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct {
				Enum []string `json:"enum"`
			} `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

func openAPI(t *testing.T) openAPIDocument {
	t.Helper()
	// Other schemas have enums of other types, which nobody asks for here.
	text := regexp.MustCompile(`"enum": \[true[^\]]*\]`).ReplaceAllString(readDoc(t, "../internal/adminapi/openapi.json"), `"enum": []`)
	return decode[openAPIDocument](t, []byte(text))
}

// docs/api.md has every route, docs/operations.md every error code and every
// metric, docs/migrating.md every flag of the import.
func TestDocsAreComplete(t *testing.T) {
	document := openAPI(t)
	var routes []string
	for path, methods := range document.Paths {
		for method := range methods {
			if method == "get" || method == "post" || method == "delete" {
				routes = append(routes, "`"+strings.ToUpper(method)+" "+path)
			}
		}
	}
	var codes []string
	for _, word := range document.Components.Schemas["Problem"].Properties["code"].Enum {
		codes = append(codes, "| `"+word+"` |")
	}
	for page, want := range map[string][]string{
		"../docs/api.md": routes,
		"../docs/operations.md": slices.Concat(codes,
			inSource(t, "../caddymodule/metrics.go", `(?:counter\(|Name: )"(\w+)"`, ""),
			inSource(t, "../caddymodule/gauges.go", `gauge\("(\w+)"`, ""),
			inSource(t, "../caddymodule/events.go", `event\w+ += "(\w+)"`, "")),
		"../docs/migrating.md": inSource(t, "../caddymodule/command.go", `Var\(&f\.\w+, "([\w-]+)"`, "--"),
	} {
		text := readDoc(t, page)
		if len(want) < 9 {
			t.Errorf("%s: only %q is looked for", page, want)
		}
		for _, word := range want {
			if !strings.Contains(text, word) {
				t.Errorf("%s does not have %s", page, word)
			}
		}
	}
}

// inSource finds words in a source file, and writes them as the documents do:
// as code, with this in front.
func inSource(t *testing.T, file, pattern, front string) (words []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(readDoc(t, file), -1) {
		words = append(words, "`"+front+m[1]+"`")
	}
	if len(words) == 0 {
		t.Errorf("%s has nothing that is written as %s", file, pattern)
	}
	return words
}
