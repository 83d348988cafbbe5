package realm

import (
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// validateAnswer checks what a rule says about the answers of an API.
func (r Rule) validateAnswer(at string) error {
	if r.Header != "" {
		if err := validHeader(at+".header", r.Header); err != nil {
			return err
		}
	}
	switch {
	case r.Header != "" && r.JSON != "":
		return Fieldf(at+".header", "cannot stand beside json: values would be those of both")
	case len(r.Types) > 0 && r.JSON == "" && r.Text == "":
		return Fieldf(at+".types", "needs json or text: nothing else looks into bodies")
	}
	for i, mediaType := range r.Types {
		path := indexPath(at+".types", i)
		if err := validMediaType(path, mediaType); err != nil {
			return err
		}
		first := slices.IndexFunc(r.Types, func(other string) bool { return strings.EqualFold(other, mediaType) })
		if first < i {
			return Fieldf(path, "is the same as types[%d]", first)
		}
	}
	return validText(at+".text", r.Text)
}

// validMediaType checks a media type (RFC 9110 section 8.3.1) that stands without
// parameters. One of a stream of events is refused: no event of it must wait.
func validMediaType(path, mediaType string) error {
	kind, subtype, _ := strings.Cut(mediaType, "/")
	switch {
	case !httpguts.ValidHeaderFieldName(kind) || !httpguts.ValidHeaderFieldName(subtype) || strings.Contains(mediaType, "*"):
		return Fieldf(path, "must be a media type without parameters, such as text/html, not %.40q", mediaType)
	case strings.EqualFold(mediaType, "text/event-stream"):
		return Fieldf(path, "must not be text/event-stream: its events are never held back")
	}
	return nil
}
