package grant

import (
	"net/http"
	"strings"
)

// mediaTypeOf returns the media type of an answer, without its parameters.
func mediaTypeOf(h http.Header) string {
	values := h["Content-Type"]
	if len(values) == 0 {
		return ""
	}
	mediaType, _, _ := strings.Cut(values[0], ";")
	return strings.TrimSpace(mediaType)
}

// isJSON reports whether a media type may be that of a JSON document. WeChat and
// QQ send theirs as text/plain, and an answer may have no type at all.
func isJSON(mediaType string) bool {
	switch {
	case mediaType == "", hasSuffixFold(mediaType, "+json"):
		return true
	}
	return isOneOf(mediaType, "application/json", "text/json", "text/plain")
}

// isText reports whether a media type is that of a text for people or of XML.
func isText(mediaType string) bool {
	return hasPrefixFold(mediaType, "text/") || hasSuffixFold(mediaType, "+xml") || isOneOf(mediaType, "application/xml")
}

// isStream reports whether a media type is that of a sequence whose parts are worth
// having one by one. Many of its kind begin as a JSON document does.
func isStream(mediaType string) bool {
	return hasPrefixFold(mediaType, "multipart/") || hasPrefixFold(mediaType, "application/grpc") ||
		isOneOf(mediaType, "text/event-stream",
			"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq")
}

func isOneOf(mediaType string, known ...string) bool {
	for _, k := range known {
		if strings.EqualFold(mediaType, k) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	n := len(s) - len(suffix)
	return n > 0 && strings.EqualFold(s[n:], suffix)
}
