package fakeprovider

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Person is somebody with a browser and an account at the provider.
type Person struct {
	User, Password string
	// Denies: he logs in, and does not consent.
	Denies bool
}

// ErrNotAdmitted is what Person.Open returns where the provider shows a page
// instead of sending the browser back to the app.
var ErrNotAdmitted = errors.New("the provider does not send the browser back")

// formAction finds where the provider's form goes.
var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">`)

// Open opens an authorization URL, fills the form in and returns where the
// browser is sent then: the redirect URI with code and state, or with an error.
// It does not go there. Any other end is an error, ErrNotAdmitted for a page.
func (who Person) Open(ctx context.Context, authorizeURL string) (*url.URL, error) {
	page, to, err := browse(ctx, http.MethodGet, authorizeURL, nil)
	if err != nil || to != nil {
		return to, err
	}
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		return nil, ErrNotAdmitted
	}
	consent := "allow"
	if who.Denies {
		consent = "deny"
	}
	target, err := url.Parse(authorizeURL)
	if err == nil {
		target, err = target.Parse(html.UnescapeString(action[1]))
	}
	if err != nil {
		return nil, fmt.Errorf("the form's action: %w", err)
	}
	_, to, err = browse(ctx, http.MethodPost, target.String(), url.Values{
		"username": {who.User}, "password": {who.Password}, "consent": {consent},
	})
	if err == nil && to == nil {
		err = ErrNotAdmitted
	}
	return to, err
}

// browse makes one request and returns the page, or where it redirects to.
func browse(ctx context.Context, method, target string, form url.Values) (page string, to *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get("Location") != "" {
		to, err = resp.Location()
		return "", to, err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), nil, err
}
