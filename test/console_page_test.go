package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The languages of the console, as browsers name them.
const (
	english = "en"
	chinese = "zh-CN"
)

// tab is a tab of Chromium, with cookies and storage of its own. A test that has one
// fails, whatever else it looks at, if the page violates its content security policy,
// throws, writes an error to the browser's console, asks another host for anything, or
// gets an answer that says no.
type tab struct {
	t     testing.TB
	ctx   context.Context
	site  string // the URL of the console, with a slash at the end
	words words
	// byKeys: the mouse is not used.
	byKeys bool

	seen seen
}

// newTab opens a tab for a site, without a page yet.
func newTab(t testing.TB, site, language string) *tab {
	t.Helper()
	shared, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, site: site + "/", words: wordsOf(t, language)}
	b.seen.site = b.site
	ctx, end := chromedp.NewContext(shared, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.seen.hear))
	b.ctx, b.seen.ctx = ctx, ctx
	t.Cleanup(func() {
		b.judge()
		end()
	})
	if err := chromedp.Do(ctx); err != nil { // the context of the first command ends the tab with it
		t.Fatal(err)
	}
	const megabytes = 1 << 20
	total, each := int64(64*megabytes), int64(16*megabytes)
	do(b, network.Enable, network.EnableParams{MaxTotalBufferSize: &total, MaxResourceBufferSize: &each, MaxPostDataSize: &each})
	do(b, runtime.AddBinding, runtime.AddBindingParams{Name: violationBinding})
	do(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: violationScript})
	// What moves cannot be clicked at.
	do(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}, {Name: "prefers-color-scheme", Value: "light"}},
	})
	agent := value[string](b, "navigator.userAgent")
	do(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: language})
	b.resize(1280, 900)
	return b
}

func (b *tab) resize(width, height int64) {
	b.t.Helper()
	do(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
}

// do sends a command to the tab.
func do[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := try(b, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// try is do for what may fail, because the page changes meanwhile.
func try[P, R any](b *tab, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Call(ctx, command, params)
}

// value is that of an expression of JavaScript.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// awaited is value for a promise.
func awaited[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// open loads a page of the console as if its address was typed in: "realms/shop".
func (b *tab) open(path string) {
	b.t.Helper()
	b.load(b.site + "#/" + path)
}

// load loads a URL. Without the blank page, one that differs in its fragment only would
// not load anything.
func (b *tab) load(url string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("%s does not load: %v", url, err)
	}
	b.settle()
}

// visit goes to a page of the console that is open, without loading all again.
func (b *tab) visit(path string) {
	b.t.Helper()
	value[string](b, fmt.Sprintf(leave, jsonText("#/"+path)))
	b.settle()
}

// path is where the console is.
func (b *tab) path() string {
	b.t.Helper()
	return strings.TrimPrefix(value[string](b, "location.hash"), "#/")
}

// leave goes to another page, and marks the one that is left.
const leave = `{
	const path = (hash) => hash.split('?')[0];
	const to = %s;
	if (path(location.hash) !== path(to)) document.querySelector('main:not(:has(main)) > *').isLeft = true;
	location.hash = to;
}`

// busy reports whether the page that was left is still there, or the new one waits for
// something, or has not drawn it.
const busy = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
	const page = document.querySelector('main:not(:has(main)) > *');
	done(!page || page.isLeft === true || document.querySelector('[aria-busy=true], [aria-label="%s"]') !== null);
})))`

// settle waits until a page is there, and has what it asks for.
func (b *tab) settle() {
	b.t.Helper()
	expression := fmt.Sprintf(busy, b.say("common:loading"))
	b.eventually("the page has all that it asks for", func() bool {
		if b.seen.underWay() > 0 {
			return false
		}
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		isBusy, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression, chromedp.EvalAwaitPromise))
		return err == nil && !isBusy && b.seen.underWay() == 0
	})
}

// eventually polls until a condition holds. What the page shows when it does not is
// part of the failure.
func (b *tab) eventually(what string, holds func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			b.t.Fatalf("it did not happen in time: %s\nat %s, with %d requests under way, the page shows:\n%s", what, b.path(), b.seen.underWay(), b.text())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// text is what the page shows.
func (b *tab) text() string {
	b.t.Helper()
	return value[string](b, "document.body.innerText")
}

// shows waits for a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the page shows %q", text), func() bool { return strings.Contains(b.text(), text) })
}

// say is a text of the console in the language of the tab: "realms:form.save". The
// values are those of its {{names}}.
func (b *tab) say(key string, values ...string) string {
	b.t.Helper()
	return b.words.say(b.t, key, values...)
}

// words are the texts of the console in one language, by page. Tests name texts by their
// keys: a text that is worded better breaks no test.
type words map[string]map[string]string

var allWords sync.Map // of words, by language

func wordsOf(t testing.TB, language string) words {
	t.Helper()
	if known, ok := allWords.Load(language); ok {
		return known.(words)
	}
	short, _, _ := strings.Cut(language, "-")
	files, err := filepath.Glob("../console/src/i18n/" + short + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no texts in %s: %v", language, err)
	}
	all := words{}
	for _, file := range files {
		content, err := os.ReadFile(file) // #nosec G304 -- of this repository
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		flatten("", decode[map[string]any](t, content), texts)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = texts
	}
	allWords.Store(language, all)
	return all
}

func flatten(prefix string, texts map[string]any, into map[string]string) {
	for key, text := range texts {
		switch text := text.(type) {
		case string:
			into[prefix+key] = text
		case map[string]any:
			flatten(prefix+key+".", text, into)
		}
	}
}

func (w words) say(t testing.TB, key string, values ...string) string {
	t.Helper()
	page, name, _ := strings.Cut(key, ":")
	text, ok := w[page][name]
	if !ok {
		t.Fatalf("the console has no text %s", key)
	}
	for i := 0; i+1 < len(values); i += 2 {
		text = strings.ReplaceAll(text, "{{"+values[i]+"}}", values[i+1])
	}
	return text
}

// jsonText is a value as JavaScript writes it.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of tests: strings and lists of them
	}
	return string(text)
}
