package realm

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzDecode compares with encoding/json: whatever Decode accepts, it reads as
// encoding/json does; whatever it refuses, encoding/json refuses too, or the
// text is one of those that encoding/json lets pass in silence.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, theirs Realm
		err := Decode(data, "body", &ours)
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		theirErr := dec.Decode(&theirs)
		if err != nil {
			checkRefusal(t, data, err, theirErr)
			return
		}
		if theirErr != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("we read %#v, encoding/json %#v (%v)", ours, theirs, theirErr)
		}
		checkAccepted(t, ours)
	})
}

func checkRefusal(t *testing.T, data []byte, err, theirErr error) {
	var field *FieldError
	if !errors.As(err, &field) || !strings.HasPrefix(field.Field, "body") || field.Reason == "" {
		t.Fatalf("refused with %#v", err)
	}
	if theirErr != nil || checkText(data, "") != nil || isNull(data) {
		return
	}
	if !strings.Contains(field.Reason, "it is spelled") {
		t.Fatalf("encoding/json accepts what we refuse: %v", err)
	}
}

// checkAccepted: what was read survives being written, as the stores do it,
// and nothing that reads a realm panics.
func checkAccepted(t *testing.T, r Realm) {
	valid := r.Validate() == nil
	for name := range r.Config.Shared {
		r.Config.Shared[name] = Mask // written as a mask anyway
	}
	r.Config.Proxy = ProxyURL(r.Config.Proxy.String())
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("it cannot be written: %v", err)
	}
	var back Realm
	if err := Decode(text, "body", &back); err != nil {
		t.Fatalf("what we wrote is refused: %v\n%s", err, text)
	}
	again, err := json.Marshal(back)
	if err != nil || !bytes.Equal(again, text) {
		t.Fatalf("%s\nbecame\n%s (%v)", text, again, err)
	}
	if valid && back.Validate() != nil {
		t.Fatalf("written and read, it means something else: %v\n%s", back.Validate(), text)
	}
}
