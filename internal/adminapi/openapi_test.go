package adminapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Every route is described, and every description has a route.
func TestDescriptionHasAllRoutes(t *testing.T) {
	var have, want []string
	for _, rt := range routes {
		have = append(have, rt.method+" "+rt.path)
	}
	for path, methods := range at(described, "paths") {
		for method := range at(methods) {
			if method != "parameters" {
				want = append(want, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("routes %v\ndescribed %v", have, want)
	}
}

// The ids of a path, the body and the refusals that the generic handler can
// give are described for every route.
func TestDescriptionOfRoutes(t *testing.T) {
	names := regexp.MustCompile(`\{(\w+)\}`)
	for _, rt := range routes {
		path := at(described, "paths", rt.path)
		op := at(path, strings.ToLower(rt.method))
		var ids []string
		for _, m := range names.FindAllStringSubmatch(rt.path, -1) {
			ids = append(ids, m[1])
		}
		var got []string
		list, _ := path["parameters"].([]any)
		for _, p := range list {
			got = append(got, at(p)["name"].(string))
		}
		if !slices.Equal(ids, got) {
			t.Errorf("%s: ids %v, described %v", rt.path, ids, got)
		}
		if body := at(op, "requestBody"); (body != nil) != (rt.takes != bodyIgnored) {
			t.Errorf("%s %s: takes a body: %v, described: %v", rt.method, rt.path, rt.takes, body)
		}
		want := []string{"200", "403", "500"}
		if rt.takes != bodyIgnored {
			want = append(want, "400", "413")
		}
		if rt.takes == bodyNeeded {
			want = append(want, "415")
		}
		for _, status := range want {
			if at(op, "responses", status) == nil {
				t.Errorf("%s %s: %s is not described", rt.method, rt.path, status)
			}
		}
	}
}

// Every member of what is answered or read stands in its schema, and nothing
// else does.
func TestDescriptionHasAllFields(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"Config":      reflect.TypeFor[realm.Config](),
		"Recipe":      reflect.TypeFor[realm.Recipe](),
		"Argument":    reflect.TypeFor[realm.Argument](),
		"Rule":        reflect.TypeFor[realm.Rule](),
		"Grant":       reflect.TypeFor[realm.Grant](),
		"Injection":   reflect.TypeFor[realm.Injection](),
		"Limits":      reflect.TypeFor[realm.Limits](),
		"Realm":       reflect.TypeFor[realmDocument](),
		"RealmCounts": reflect.TypeFor[realmCounts](),
		"Status":      reflect.TypeFor[statusDocument](),

		"StoreStatus":    reflect.TypeFor[broker.StoreStatus](),
		"Activity":       reflect.TypeFor[Activity](),
		"DueRenewals":    reflect.TypeFor[dueRenewals](),
		"Call":           reflect.TypeFor[broker.Call](),
		"TokenChange":    reflect.TypeFor[broker.Change](),
		"TokenStatus":    reflect.TypeFor[broker.TokenStatus](),
		"Report":         reflect.TypeFor[tryout](),
		"ReportValue":    reflect.TypeFor[grant.ReportValue](),
		"ReportExpiry":   reflect.TypeFor[grant.ReportExpiry](),
		"ReportRule":     reflect.TypeFor[grant.ReportRule](),
		"FieldFault":     reflect.TypeFor[grant.FieldFault](),
		"Advice":         reflect.TypeFor[doctor.Advice](),
		"TestCall":       reflect.TypeFor[doctor.Call](),
		"ReportRequest":  reflect.TypeFor[grant.ReportRequest](),
		"ReportResponse": reflect.TypeFor[grant.ReportResponse](),
		"ReportToken":    reflect.TypeFor[grant.ReportToken](),

		"Company":           reflect.TypeFor[companyDocument](),
		"Client":            reflect.TypeFor[clientDocument](),
		"SavedClient":       reflect.TypeFor[savedClient](),
		"ClientRule":        reflect.TypeFor[tokenstore.Rule](),
		"ClientLimits":      reflect.TypeFor[tokenstore.ClientLimits](),
		"ClientKey":         reflect.TypeFor[clientKey](),
		"Explanation":       reflect.TypeFor[explanation](),
		"AccountResult":     reflect.TypeFor[account.Result](),
		"AccountSum":        reflect.TypeFor[sum](),
		"AuditEntry":        reflect.TypeFor[auditDocument](),
		"AuditActor":        reflect.TypeFor[auditActor](),
		"AuditChain":        reflect.TypeFor[chainDocument](),
		"AuditVerification": reflect.TypeFor[verification](),

		"Session":       reflect.TypeFor[sessionDocument](),
		"SessionRights": reflect.TypeFor[extents](),
		"RightsHere":    reflect.TypeFor[rightsThere](),
		"SessionLink":   reflect.TypeFor[sessionLink](),

		"Pushed":     reflect.TypeFor[pushedDocument](),
		"PushAnswer": reflect.TypeFor[pushAnswer](),

		"Authorization": reflect.TypeFor[authorization](),

		"Preset":        reflect.TypeFor[presets.Preset](),
		"PresetText":    reflect.TypeFor[presets.Text](),
		"PresetNotes":   reflect.TypeFor[presets.Notes](),
		"PresetField":   reflect.TypeFor[presets.Field](),
		"PresetError":   reflect.TypeFor[presets.KnownError](),
		"PresetExample": reflect.TypeFor[presets.Example](),

		"Rotation":      reflect.TypeFor[tokenstore.Rotation](),
		"RotationDone":  reflect.TypeFor[rotation](),
		"TableProgress": reflect.TypeFor[tokenstore.TableProgress](),
		"KeyUse":        reflect.TypeFor[tokenstore.KeyUse](),
		"BackupHeader":  reflect.TypeFor[tokenstore.BackupHeader](),

		"Problem": reflect.TypeFor[problem.Document](),
	} {
		have := fieldNames(typ)
		var want []string
		for field := range at(described, "components", "schemas", name, "properties") {
			want = append(want, field)
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s has %v\ndescribed %v", name, have, want)
		}
	}
}

// Whoever says the advice in another language finds all its words: a code, or
// code.case.
func TestDescriptionHasAllAdvice(t *testing.T) {
	var described struct {
		Components struct {
			Schemas struct {
				Advice struct {
					Words []string `json:"x-words"`
				}
			}
		}
	}
	if err := json.Unmarshal(description, &described); err != nil {
		t.Fatal(err)
	}
	if got := described.Components.Schemas.Advice.Words; !slices.Equal(got, doctor.Words()) {
		t.Errorf("described %q\nwant %q", got, doctor.Words())
	}
}

// Every reference leads somewhere, and nothing is described that is not used.
func TestDescriptionReferences(t *testing.T) {
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(string(description), -1) {
		used[ref[1]] = true
		if at(described, strings.Split(ref[1], "/")...) == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	for kind, parts := range at(described, "components") {
		for name := range at(parts) {
			if !used["components/"+kind+"/"+name] {
				t.Errorf("%s %s is not used", kind, name)
			}
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	_, c := newPuppet(t)
	a := c.get("/api/openapi.json")
	if a.status != http.StatusOK || a.document()["openapi"] != "3.1.0" {
		t.Errorf("%d: %s", a.status, a.body)
	}
}

// fieldNames lists the JSON names of a struct, embedded ones included.
func fieldNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, fieldNames(f.Type)...)
		case name != "-":
			names = append(names, name)
		}
	}
	return names
}
