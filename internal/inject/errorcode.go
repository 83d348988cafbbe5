package inject

import (
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// maxErrorCode bounds an error code. What is longer is a text, which may differ
// from answer to answer.
const maxErrorCode = 64

// codePaths lead to the error code in the documents of well-known APIs.
var codePaths = [...]string{
	"errcode", "code", "error_code", "errorCode", "error.code", "error.status", "error",
	"errors.0.code", "errors.0.extensions.code", "0.errorCode", "0.code",
}

// errorCode returns the code with which an API refused a request: the error of
// a Bearer challenge (RFC 6750 section 3), else what stands in the document;
// "" where there is none. With it, "the token has expired" and "the right is
// missing" are two refusals even where they share a status.
func errorCode(h http.Header, document []byte) string {
	for _, challenge := range h["Www-Authenticate"] {
		const parameter = `error="`
		if i := strings.Index(challenge, parameter); i >= 0 {
			code, _, closed := strings.Cut(challenge[i+len(parameter):], `"`)
			if closed && code != "" && len(code) <= maxErrorCode {
				return code
			}
		}
	}
	if !beginsJSON(document) {
		return ""
	}
	for _, path := range codePaths {
		r := gjson.GetBytes(document, path)
		if r.IsObject() || r.IsArray() {
			continue
		}
		if code := r.String(); code != "" && len(code) <= maxErrorCode {
			return strings.Clone(code)
		}
	}
	return ""
}
