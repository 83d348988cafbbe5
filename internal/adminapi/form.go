package adminapi

import (
	"bytes"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data" // RFC 7578
)

// formOf writes a form as a query is written; ok is false where the body is
// none.
func formOf(h http.Header, body []byte) (form query, ok bool, err error) {
	switch {
	case hasContentType(h, typeForm):
		return query(body), true, nil
	case hasContentType(h, typeMultipart):
		form, err = fieldsOf(h, body)
		return form, true, err
	}
	return "", false, nil
}

// fieldsOf are the fields of a multipart form. Its files stay in memory, where
// they are already, and are ignored.
func fieldsOf(h http.Header, body []byte) (query, error) {
	_, parameters, _ := mime.ParseMediaType(h.Get("Content-Type")) // which hasContentType() could read
	form, err := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(maxBody)
	if err != nil {
		return "", realm.Fieldf("", "the form cannot be read")
	}
	return query(url.Values(form.Value).Encode()), nil
}
