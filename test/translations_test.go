package test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// zhDocs is the folder of the translations. Each has the name of its English page.
const zhDocs = "../docs/zh-CN/"

// translations are the Chinese pages, other than those of the providers.
func translations(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(zhDocs + "*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("no translations: %v", err)
	}
	return found
}

// original is the English page of a translation.
func original(page string) string {
	return "../docs/" + filepath.Base(page)
}

// isCopy reports whether a block of a page is, byte for byte, that of the English
// page at the same place, so that what holds for that one holds for this one.
func isCopy(t *testing.T, page string, at int, b block) bool {
	t.Helper()
	if !strings.HasPrefix(page, zhDocs) {
		return false
	}
	english := blocksOf(t, original(page))
	return at < len(english) && english[at].text == b.text && english[at].within == b.within
}

// A Chinese page has the headings, blocks, tables and links of its English page in
// the same order. Whoever adds a section, an option or an example to one of the
// two has to add it to the other one.
func TestTranslationsKeepStep(t *testing.T) {
	for _, page := range translations(t) {
		want, got := outline(readDoc(t, original(page))), outline(readDoc(t, page))
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i].is != got[i].is {
				t.Errorf("%s differs from the English page:\n%s\n\nwhere the English page has\n%s", page, at(got, i), at(want, i))
				break
			}
		}
	}
}

// part is a heading, a block or a table: what it is in either language, and its
// own words.
type part struct{ is, words string }

// at is a part of an outline, or its end.
func at(parts []part, i int) string {
	if i < len(parts) {
		return parts[i].words
	}
	return "(the end)"
}

var (
	// parts are a fenced block, a heading, or the rows of a table.
	parts = regexp.MustCompile("(?ms)^```[^\n]*\n.*?^```$|^#+ [^\n]*$|^\\|[^\n]*(?:\n\\|[^\n]*)*")
	// comment is one of a shell, a Caddyfile or YAML, with the blanks before it.
	comment = regexp.MustCompile(`(?m)(?:^|[ \t]+)# .*$`)
	// label is the text of a node or an arrow in a diagram.
	label = regexp.MustCompile(`"[^"\n]*"`)
)

// outline is what a page has, without the words that a translation replaces:
// those of headings, cells, comments, and the labels of diagrams.
func outline(text string) (all []part) {
	for _, words := range parts.FindAllString(text, -1) {
		var is string
		switch {
		case strings.HasPrefix(words, "```mermaid"):
			is = label.ReplaceAllString(words, `""`)
		case strings.HasPrefix(words, "```"):
			is = comment.ReplaceAllString(words, "")
		case strings.HasPrefix(words, "#"):
			is, _, _ = strings.Cut(words, " ")
		default:
			for row := range strings.Lines(words) {
				is += fmt.Sprintf("row of %d\n", strings.Count(strings.ReplaceAll(row, `\|`, ""), "|")-1)
			}
		}
		all = append(all, part{is, words})
	}
	return all
}

// A Chinese page leads to the same places as its English page, and to their
// Chinese versions where there are some.
func TestTranslationsLinkAlike(t *testing.T) {
	for _, page := range translations(t) {
		english := original(page)
		want, got := places(t, english), places(t, page)
		for place, n := range want {
			if got[place] != n {
				t.Errorf("%s has %d links to %s, and the English page %d", page, got[place], place, n)
			}
		}
		for place := range got {
			if want[place] == 0 {
				t.Errorf("%s has a link to %s, and the English page has none", page, place)
			}
		}
		for text, line := range map[string]string{
			readDoc(t, page):    "[English](../" + filepath.Base(page) + ")",
			readDoc(t, english): "[简体中文](zh-CN/" + filepath.Base(page) + ")",
		} {
			if lines := strings.SplitN(text, "\n", 5); len(lines) < 5 || lines[2] != line {
				t.Errorf("the first line below the title is not %s", line)
			}
		}
	}
}

// Whoever reads Chinese is led to the Chinese pages, as far as there are some.
func TestChinesePagesLeadToChineseOnes(t *testing.T) {
	for _, page := range slices.Concat(translations(t), catalogue(t), readmes[1:]) {
		if page != readmes[1] && !strings.HasPrefix(page, zhDocs) {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(readDoc(t, page), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			target = filepath.Join(filepath.Dir(page), target)
			name, isDoc := strings.CutPrefix(target, "../docs/")
			if !isDoc || strings.HasPrefix(target, zhDocs) || target == strings.Replace(page, zhDocs, "../docs/", 1) {
				continue
			}
			if _, err := os.Stat(zhDocs + name); err == nil {
				t.Errorf("%s leads to the English page: %s", page, m[1])
			}
		}
	}
}

// places are the files, and the headings in them, that a page links, with the
// number of the links. A file and a heading of a translation count as the English
// ones, and a heading is told by its number. The link to the other language is none.
func places(t *testing.T, page string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(readDoc(t, page), ""), -1) {
		to, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(to, "://") {
			all[m[1]]++
			continue
		}
		file := filepath.Join(filepath.Dir(page), cmp.Or(to, filepath.Base(page)))
		place := strings.Replace(file, zhDocs, "../docs/", 1)
		if to != "" && place == strings.Replace(page, zhDocs, "../docs/", 1) || to == "zh-CN/"+filepath.Base(page) {
			continue
		}
		if anchor != "" {
			place += fmt.Sprintf(" (heading %d)", slices.Index(anchors(readDoc(t, file)), anchor))
		}
		all[place]++
	}
	return all
}
