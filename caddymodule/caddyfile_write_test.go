package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	written "github.com/caddy-tokens/caddy-tokens/internal/caddyfile"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// readBack reads a block as Caddy does, and checks that caddy fmt leaves it alone.
func readBack(block string) (realm.Realm, []Secret, error) {
	if formatted := string(caddyfile.Format([]byte(block))); formatted != block {
		return realm.Realm{}, nil, fmt.Errorf("not as caddy fmt writes it:\n%s", cmp.Diff(formatted, block))
	}
	blocks, err := caddyfile.Parse("Caddyfile", []byte("{\ntokens {\n"+block+"}\n}\n"))
	if err != nil {
		return realm.Realm{}, nil, err
	}
	d := caddyfile.NewDispenser(blocks[0].Segments[0])
	var p *realmParser
	d.Next() // tokens
	err = options{"realm": {parse: func(d *caddyfile.Dispenser) (err error) {
		p, err = readUnchecked(d)
		return err
	}}}.parse(d, "tokens")
	if err != nil {
		return realm.Realm{}, nil, err
	}
	p.realm.Config.Shared = p.shared.hidden()
	return p.realm, p.secrets, nil
}

// saidOnTheWay is what a Caddyfile says where a realm leaves a default unsaid: the
// method of a request, and the content type of a body.
func saidOnTheWay(t require, r *realm.Realm) {
	c := &r.Config
	merged, err := presets.Apply(*c)
	if err != nil {
		t.Fatal(err)
	}
	fallback := "json"
	if merged.Grant != nil {
		fallback = "form"
	}
	if merged.ContentType != "" {
		fallback = merged.ContentType
	}
	for i, recipe := range []*realm.Recipe{&c.Recipe, c.Refresh, c.Authorize, c.Exchange} {
		if recipe == nil {
			continue
		}
		if recipe.URL != "" && recipe.Method == "" && c.Preset == "" && (i > 0 || c.Grant == nil) {
			recipe.Method = "GET"
		}
		for _, a := range recipe.Arguments {
			if a.Place == realm.PlaceBody && recipe.ContentType == "" {
				recipe.ContentType = fallback
			}
		}
	}
}

// require is what testing.T and rapid.T have in common.
type require interface{ Fatal(args ...any) }

// sameRealm compares two realms by their JSON, with numbers equal to texts of them.
func sameRealm(t require, want, got realm.Realm) string {
	plain := func(r realm.Realm) any {
		r.Config.Shared = nil
		saidOnTheWay(t, &r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		return spellValues(v)
	}
	return cmp.Diff(plain(want), plain(got))
}

// spellValues writes the values of rules as texts, in place.
func spellValues(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if list, ok := member.([]any); ok && name == "values" {
				for i := range list {
					list[i] = spelled(list[i])
				}
			}
			spellValues(member)
		}
	case []any:
		for _, item := range v {
			spellValues(item)
		}
	}
	return v
}

// spelled is the spelling of a scalar, whatever its type is.
func spelled(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(v)
}

// TestWrittenPresets: each preset, named and spelled out, reads back as it is.
func TestWrittenPresets(t *testing.T) {
	for _, p := range presets.List() {
		var fields []string
		for _, f := range p.Fields {
			fields = append(fields, f.Name)
		}
		for name, config := range map[string]realm.Config{"named": {Preset: p.Name}, "spelled out": p.Config} {
			r := realm.Realm{ID: p.Name, Config: config}
			block, err := written.Write(r, []written.Secret{{Key: "main", Fields: fields}})
			if err != nil {
				t.Errorf("%s %s: %v", p.Name, name, err)
				continue
			}
			got, secrets, err := readBack(block)
			if err != nil {
				t.Errorf("%s %s: %v\n%s", p.Name, name, err, block)
				continue
			}
			if diff := sameRealm(t, r, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s\n%s", p.Name, name, diff, block)
			}
			if len(secrets) != 1 || len(secrets[0].Fields) != len(fields) {
				t.Errorf("%s: the secrets are %v\n%s", p.Name, secrets, block)
			}
		}
	}
}

// TestWrittenGoldenRealms: each realm of the golden files reads back as it is. One
// that takes values of the environment cannot be written: the API does not know
// that they are no templates.
func TestWrittenGoldenRealms(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, adapted, _ := strings.Cut(string(content), divider)
		var config struct {
			Apps struct {
				Tokens struct{ Realms []Realm }
			}
		}
		if json.Unmarshal([]byte(adapted), &config) != nil {
			continue // an error
		}
		for _, r := range config.Apps.Tokens.Realms {
			count++
			writtenAndRead(t, filepath.Base(file), r)
		}
	}
	if count < 50 {
		t.Errorf("only %d realms were found", count)
	}
}

func writtenAndRead(t *testing.T, file string, r Realm) {
	t.Helper()
	want := realm.Realm{ID: r.ID, LogicCode: r.LogicCode, Comment: r.Comment}
	if len(r.Config) > 0 {
		if err := realm.Decode(r.Config, "config", &want.Config); err != nil {
			t.Fatal(err)
		}
	}
	var secrets []written.Secret
	for _, s := range r.Secrets {
		secret := written.Secret{Key: s.Key, InjectOnly: s.InjectOnly}
		for name := range s.Fields {
			secret.Fields = append(secret.Fields, name)
		}
		secrets = append(secrets, secret)
	}
	block, err := written.Write(want, secrets)
	if fromEnvironment(&want.Config) && !strings.Contains(string(r.Config), "{{env.") {
		if err == nil || !strings.Contains(err.Error(), "which a Caddyfile fills in") {
			t.Errorf("%s: %s: error %v", file, r.ID, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %s: %v", file, r.ID, err)
		return
	}
	got, gotSecrets, err := readBack(block)
	if err != nil {
		t.Errorf("%s: %s: %v\n%s", file, r.ID, err, block)
		return
	}
	if diff := sameRealm(t, want, got); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s\n%s", file, r.ID, diff, block)
	}
	for i, s := range gotSecrets {
		if s.Key != r.Secrets[i].Key || s.InjectOnly != r.Secrets[i].InjectOnly || len(s.Fields) != len(r.Secrets[i].Fields) {
			t.Errorf("%s: %s: secret %v became %v\n%s", file, r.ID, r.Secrets[i], s, block)
		}
	}
}

// TestWrittenRandomRealms: whatever a realm says reads back as it is, or is an
// error that names the field. Every field of a config is filled in by chance, so
// that one which is added to a realm is not forgotten here.
func TestWrittenRandomRealms(t *testing.T) {
	count := 0
	defer func() {
		if count == 0 {
			t.Error("no realm could be written")
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		want := realm.Realm{ID: anyText().Filter(func(s string) bool { return s != "" }).Draw(t, "id"), Comment: anyText().Draw(t, "comment"), LogicCode: anyText().Draw(t, "logic_code")}
		fill(t, reflect.ValueOf(&want.Config).Elem(), "config")
		c := &want.Config
		c.Preset, c.Shared, c.Proxy = "", nil, ""
		if c.Grant != nil && c.Grant.Name == "" {
			c.Grant.Name = "static"
		}
		block, err := written.Write(want, nil)
		if err != nil {
			var field *realm.FieldError
			if !errors.As(err, &field) || field.Field == "" {
				t.Fatalf("no field is named: %v", err)
			}
			return
		}
		count++
		got, _, err := readBack(block)
		if err != nil {
			t.Fatalf("%v\n%s", err, block)
		}
		if diff := sameRealm(t, want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, block)
		}
	})
}

// TestWrittenFields: the generator fills in every field, one by one, and the
// writer knows each.
func TestWrittenFields(t *testing.T) {
	known := reflect.TypeFor[realm.Config]()
	for i := range known.NumField() {
		field, count := known.Field(i), 0
		switch field.Name {
		case "Shared", "Proxy": // written as placeholders
			continue
		}
		rapid.Check(t, func(t *rapid.T) {
			want := realm.Realm{ID: "r"}
			fill(t, reflect.ValueOf(&want.Config).Elem().Field(i), field.Name)
			want.Config.Preset = map[bool]string{true: "wechat"}[field.Name == "Preset"]
			if want.Config.Grant != nil {
				want.Config.Grant.Name = "static"
			}
			block, err := written.Write(want, nil)
			if err != nil {
				return
			}
			count++
			got, _, err := readBack(block)
			if err != nil {
				t.Fatalf("%s: %v\n%s", field.Name, err, block)
			}
			if diff := sameRealm(t, want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s\n%s", field.Name, diff, block)
			}
		})
		if count == 0 {
			t.Fatalf("%s was never written", field.Name)
		}
	}
}

// anyText draws texts that are hard to quote.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,8}`),
		rapid.SampledFrom([]string{"{secret.appid}", "Bearer {token}", "{{", "{{env.X}", "a{b", "}", "{}", "#x", "<<EOF", "EOF", "import", "expr", "a\nb\n", "\n", "\t x", "x \\", `\"`, "\"`", "a\r\nb", "微信 ☃", "-----BEGIN X-----\nEOF\n-----END X-----\n"}),
		rapid.StringOfN(rapid.SampledFrom([]rune("ab \t\n\"`\\{}<#$'é")), 1, 8, -1),
		rapid.Just(""),
	)
}

// fill gives a value to what it points at, by chance.
func fill(t *rapid.T, v reflect.Value, name string) {
	switch p := v.Addr().Interface().(type) {
	case *realm.Duration:
		*p = realm.Duration(rapid.Int64Range(0, 1<<50).Draw(t, name))
		return
	case *realm.Size:
		*p = realm.Size(rapid.Int64Range(0, 1<<26).Draw(t, name))
		return
	case *realm.Lifetime:
		if p.Unlimited = rapid.Bool().Draw(t, name); !p.Unlimited {
			fill(t, v.FieldByName("Duration"), name)
		}
		return
	case *realm.Lead:
		*p = realm.Lead{Share: float64(rapid.IntRange(0, 50).Draw(t, name)) / 100}
		return
	case *realm.Scalar:
		text, _ := json.Marshal(rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), anyText().AsAny(), rapid.Int().AsAny(), rapid.SampledFrom([]any{"true", "40001", "absent", "null"})).Draw(t, name))
		if err := p.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		return
	}
	fillKind(t, v, name)
}

func fillKind(t *rapid.T, v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(anyText().Draw(t, name))
	case reflect.Int8: // a switch
		v.SetInt(int64(rapid.IntRange(int(realm.Unsaid), int(realm.Off)).Draw(t, name)))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Int:
		v.SetInt(int64(rapid.IntRange(0, 1000).Draw(t, name)))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 2).Draw(t, name), 2))
		for i := range v.Len() {
			fill(t, v.Index(i), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
		limitWords(t, v)
	case reflect.Map: // the shared fields
	default:
		t.Fatalf("nothing is drawn for %s, a %s", name, v.Type())
	}
}

// limitWords leaves a field that takes one of a few words with one of them, since
// nothing else passes a validation.
func limitWords(t *rapid.T, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *realm.Recipe:
		p.ContentType = rapid.SampledFrom([]string{"", "json", "form", "text"}).Draw(t, "content_type")
		for i := range p.Arguments {
			if p.ContentType != "json" || p.Arguments[i].Place != "body" {
				p.Arguments[i].Type = ""
			}
		}
		for _, list := range [][]realm.Rule{p.Success, p.ReauthOn, p.HopelessOn, p.ThrottledOn} {
			for i, rule := range list {
				list[i] = realm.Rule{Status: rule.Status, JSON: rule.JSON, Values: rule.Values, Absent: rule.Absent}
				if rule.JSON == "" {
					list[i] = realm.Rule{Status: []int{200, 400}}
				}
			}
		}
	case *realm.Argument:
		p.Place = rapid.SampledFrom([]string{"url", "header", "body", "basic", "path"}).Draw(t, "place")
		p.Type = rapid.SampledFrom([]string{"", "", "", "string", "number", "boolean"}).Draw(t, "type")
		p.Expr = map[bool]string{true: p.Expr}[p.Value == ""]
	case *realm.Injection:
		p.Place = rapid.SampledFrom([]string{"url", "header", "body", "basic", "path", "cookie"}).Draw(t, "place")
		p.Expr = map[bool]string{true: p.Expr}[p.Value == ""]
	case *realm.Rule:
		if p.JSON == "" && len(p.Status) == 0 {
			p.Status = []int{401}
		}
		if p.JSON != "" {
			p.Header = ""
			p.Absent = p.Absent || len(p.Values) == 0
		} else {
			p.Absent = false
		}
		if p.JSON == "" && p.Header == "" {
			p.Values = nil
		}
	}
}

// FuzzWrittenComment: any text is one token again, and the lines behind it are not
// touched.
func FuzzWrittenComment(f *testing.F) {
	for _, text := range []string{"a#b", "`\\", "\"\\", "<<EOF\nEOF", "{$HOME}", "a\r\nb", "{env.HOME}", "}\n}", "\\\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := realm.Realm{ID: "r", Comment: text, Config: realm.Config{API: "https://api.example.com"}}
		block, err := written.Write(want, nil)
		if err != nil {
			var field *realm.FieldError
			if !errors.As(err, &field) || field.Field != "comment" {
				t.Fatalf("no field is named: %v", err)
			}
			return
		}
		got, _, err := readBack(block)
		if err != nil {
			t.Fatalf("%v\n%s", err, block)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, block)
		}
	})
}
