package test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// person is somebody with a browser, who logs in wherever a page asks for a
// name and a password.
type person struct {
	name, password string
	// denies says what the person does where a page asks for consent.
	denies bool
}

// maxPages bounds how many pages a person looks at.
const maxPages = 20

// follows opens a link and goes through every redirect and page, until the
// browser is sent to the app's callback. That URL is returned, and not
// opened.
func (p person) follows(t testing.TB, link, callback string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := *client
	browser.Jar = jar
	req := request(t, http.MethodGet, link, nil)
	for range maxPages {
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if location := resp.Header.Get("Location"); location == "" {
			req = p.submits(t, resp, string(page))
		} else {
			to := resolve(t, req.URL, location)
			if to.Scheme+"://"+to.Host+to.Path == callback {
				return to.String()
			}
			req = request(t, http.MethodGet, to.String(), nil)
		}
	}
	t.Fatal("the pages lead nowhere")
	return ""
}

// submits fills the form of a page in.
func (p person) submits(t testing.TB, resp *http.Response, page string) *http.Request {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	form := find(root, "form")
	if resp.StatusCode != http.StatusOK || len(form) != 1 {
		t.Fatalf("got %d and no form: %s", resp.StatusCode, page)
	}
	values := url.Values{}
	for _, input := range find(form[0], "input") {
		values.Set(attribute(input, "name"), p.types(attribute(input, "name"), attribute(input, "value")))
	}
	for _, button := range find(form[0], "button") {
		if name, value := attribute(button, "name"), attribute(button, "value"); name != "" && p.denies == (value == "deny") {
			values.Set(name, value)
		}
	}
	return request(t, http.MethodPost, resolve(t, resp.Request.URL, attribute(form[0], "action")).String(), values)
}

func (p person) types(field, value string) string {
	switch field {
	case "username":
		return p.name
	case "password":
		return p.password
	default:
		return value
	}
}

// request is what a browser sends: a link, or a form.
func request(t testing.TB, method, to string, form url.Values) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

func resolve(t testing.TB, base *url.URL, reference string) *url.URL {
	t.Helper()
	to, err := base.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// find is the elements of a name below a node.
func find(root *html.Node, name string) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// consentPage asks whether the app may act for the person.
const consentPage = `<!DOCTYPE html>
<html><body><form method="POST" action="">
<button type="submit" name="consent" value="allow">Allow</button>
<button type="submit" name="consent" value="deny">Deny</button>
</form></body></html>`
