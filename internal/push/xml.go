package push

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
)

// maxElements bounds the elements of a message.
const maxElements = 100

// parseXML reads the elements below the root that hold nothing but text. Neither a
// document type nor an entity of one is read, and what is there twice is refused:
// another reader might take the other one.
func parseXML(text []byte) (map[string]string, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	found, content := map[string]string{}, []byte(nil)
	depth, name := 0, ""
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 && name == "" && len(found) > 0 {
			return found, nil
		}
		if err != nil {
			return nil, refused("the body is no XML with elements")
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, refused("the XML has a document type")
		case xml.StartElement:
			if depth++; depth == 2 {
				name, content = t.Name.Local, nil
			} else if depth > 2 {
				name = "" // it holds elements
			}
		case xml.CharData:
			if depth == 2 {
				content = append(content, t...)
			}
		case xml.EndElement:
			if depth--; depth != 1 || name == "" {
				continue
			}
			if _, twice := found[name]; twice || len(found) == maxElements {
				return nil, refused("the XML has an element twice, or too many")
			}
			found[name], name = string(content), ""
		}
	}
}
