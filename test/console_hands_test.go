package test

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Elements are found as a screen reader finds them, by role and name, so that another
// look of the page breaks no test.

// element is one of them.
type element struct {
	id   cdp.BackendNodeID
	role string
	name string
}

func (e element) String() string { return fmt.Sprintf("%s %q", e.role, e.name) }

// A name may begin with that of an icon, and with the star of what must be filled in.
var ornaments = regexp.MustCompile(`^([a-z]+(-[a-z]+)* |\* ?)`)

// plain is a name without blanks: the page sets a blank between two Chinese characters on
// a button.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, name)
}

func isNamed(name, wanted string) bool {
	return plain(name) == plain(wanted) || plain(ornaments.ReplaceAllString(name, "")) == plain(wanted)
}

// all are the elements with a role, in the order of the page.
func (b *tab) all(role string) []element {
	b.t.Helper()
	const group = "find"
	document, err := try(b, runtime.Evaluate, runtime.EvaluateParams{Expression: "document", ObjectGroup: group})
	if err != nil {
		return nil // the page is about to be another one
	}
	defer func() {
		_, _ = try(b, runtime.ReleaseObjectGroup, runtime.ReleaseObjectGroupParams{ObjectGroup: group})
	}()
	found, err := try(b, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: document.Result.ObjectID, Role: role})
	if err != nil {
		return nil
	}
	var all []element
	for _, n := range found.Nodes {
		if n.Ignored || n.BackendDOMNodeID == 0 {
			continue
		}
		e := element{id: n.BackendDOMNodeID, role: role}
		if n.Name != nil {
			e.name = decode[string](b.t, n.Name.Value)
		}
		all = append(all, e)
	}
	return all
}

// named are the elements with a role and a name.
func (b *tab) named(role, name string) []element {
	b.t.Helper()
	var named []element
	for _, e := range b.all(role) {
		if isNamed(e.name, name) {
			named = append(named, e)
		}
	}
	return named
}

// the is the element with a role and a name, once it is there: the first one, where the
// page offers the same twice.
func (b *tab) the(role, name string) element {
	b.t.Helper()
	var found []element
	b.eventually(fmt.Sprintf("there is a %s %q", role, name), func() bool {
		found = b.named(role, name)
		return len(found) > 0
	})
	return found[0]
}

// onElement calls a function of JavaScript with an element as this, and returns its
// JSON; "" where the element is gone.
func (b *tab) onElement(e element, function string) string {
	b.t.Helper()
	node, err := try(b, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: e.id})
	if err != nil {
		return ""
	}
	yes := true
	result, err := try(b, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: node.Object.ObjectID, FunctionDeclaration: function, ReturnByValue: &yes,
	})
	if err != nil || result.ExceptionDetails != nil {
		return ""
	}
	return string(result.Result.Value)
}

// place is the middle of an element, if a click there hits it; null otherwise.
const place = `function() {
	this.scrollIntoView({ block: 'center', behavior: 'instant' });
	const { left, top, width, height } = this.getBoundingClientRect();
	const at = { x: left + width / 2, y: top + height / 2 };
	const hit = document.elementFromPoint(at.x, at.y);
	const labels = [...(this.labels ?? [])];
	return hit && (this.contains(hit) || hit.contains(this) || labels.some((one) => one.contains(hit))) ? at : null;
}`

// click clicks at an element as soon as it stands still and nothing covers it.
func (b *tab) click(e element) {
	b.t.Helper()
	var before, now string
	b.eventually(fmt.Sprintf("the %s can be clicked", e), func() bool {
		before, now = now, b.onElement(e, place)
		return now != "" && now != "null" && now == before
	})
	at := decode[struct{ X, Y float64 }](b.t, []byte(now))
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		do(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y, Button: input.MouseButtonLeft, ClickCount: 1})
	}
}

// isFocused reports whether an element, or one inside it, has the focus.
func (b *tab) isFocused(e element) bool {
	return b.onElement(e, `function() { return this.contains(document.activeElement) }`) == "true"
}

// focus gives the focus to an element: with a click, or with the key Tab alone.
func (b *tab) focus(e element) {
	b.t.Helper()
	if !b.byKeys {
		b.click(e)
		return
	}
	const most = 200
	for range most {
		if b.isFocused(e) {
			return
		}
		b.key(kb.Tab)
	}
	b.t.Fatalf("the key Tab does not lead to the %s", e)
}

func (b *tab) key(keys string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(keys)); err != nil {
		b.t.Fatal(err)
	}
}

// press uses a button, a link, a tab or a checkbox.
func (b *tab) press(role, name string) {
	b.t.Helper()
	e := b.the(role, name)
	if !b.byKeys {
		b.click(e)
		return
	}
	b.focus(e)
	switch role {
	case "switch", "checkbox":
		b.key(" ")
	default:
		b.key(kb.Enter)
	}
}

// fill types a text into a field, in place of what is in it.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	b.fillIn("textbox", name, text)
}

func (b *tab) fillIn(role, name, text string) {
	b.t.Helper()
	e := b.the(role, name)
	b.focus(e)
	b.eventually(fmt.Sprintf("the %s has the focus", e), func() bool { return b.isFocused(e) })
	const control = 2
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		do(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kind, Modifiers: control, Key: "a", Code: "KeyA", WindowsVirtualKeyCode: 'A', Commands: []string{"selectAll"},
		})
	}
	do(b, input.InsertText, input.InsertTextParams{Text: text})
}
