package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What became of one object of the document.
const (
	becameCreated     = "created"
	becameUpdated     = "updated"
	becameUnchanged   = "unchanged"
	becameNeedsValues = "needs_values"
	becameFailed      = "failed"
)

// imported is one line of the report.
type imported struct {
	Kind   string `json:"kind"` // realm, secret, company or client
	ID     string `json:"id"`
	Key    string `json:"key,omitempty"`
	Result string `json:"result"`
	// Reason is what failed, or what is to be done.
	Reason string `json:"reason,omitempty"`
	// Fields are those that need values.
	Fields []string `json:"fields,omitempty"`
}

// fileImport takes back a document of tokens export.
type fileImport struct {
	client *apiclient.Client
	dryRun bool
	report []imported
}

// importFile reads the document, writes what differs, and reports on each object.
func (f *importFlags) importFile(cmd *cobra.Command) error {
	content, err := readInput(cmd, f.file)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	var document exported
	if err := json.Unmarshal(content, &document); err != nil || document.Version != exportVersion {
		return fmt.Errorf("--file: it is not a document that %s wrote", executable.Command("export"))
	}
	f.api.needs = "admin"
	return withAPI(cmd, &f.api, func(ctx context.Context, c *apiclient.Client) error {
		i := &fileImport{client: c, dryRun: f.DryRun}
		i.realms(ctx, document.Realms)
		i.secrets(ctx, document.Secrets)
		for _, company := range document.Companies {
			i.object(ctx, "company", companyCollection, "taxpayer_id", company)
		}
		for _, client := range document.Clients {
			i.object(ctx, "client", clientCollection, "id", client)
		}
		return i.finish(cmd, f.out.of(cmd))
	})
}

// realms writes the realms. One that takes the token of another has to wait for it,
// so that those that failed are tried again as long as others succeed.
func (i *fileImport) realms(ctx context.Context, list []map[string]any) {
	for len(list) > 0 && ctx.Err() == nil {
		before := len(i.report)
		var failed []map[string]any
		for _, r := range list {
			i.realm(ctx, r)
			if i.report[len(i.report)-1].Result == becameFailed {
				failed = append(failed, r)
			}
		}
		if len(failed) == len(list) || len(failed) == 0 {
			return
		}
		i.report = append(i.report[:before], slices.DeleteFunc(i.report[before:], func(r imported) bool { return r.Result == becameFailed })...)
		list = failed
	}
}

// realm writes one realm. Its shared fields have no values: those that the instance
// has stay, and the others are left out and reported.
func (i *fileImport) realm(ctx context.Context, r map[string]any) {
	id := member(r, "id")
	r = maps.Clone(r) // it may be tried again
	config, _ := r["config"].(map[string]any)
	shared, _ := config["shared"].(map[string]any)
	var missing []string
	if len(shared) > 0 && realm.ValidateID("id", id) == nil {
		known, err := exists(ctx, i.client, realmPath(id))
		if err != nil {
			i.add("realm", id, becameFailed, err.Error())
			return
		}
		stored, _ := known["config"].(map[string]any)
		has, _ := stored["shared"].(map[string]any)
		config, shared = maps.Clone(config), maps.Clone(shared)
		r["config"], config["shared"] = config, shared
		for name, value := range shared {
			if _, ok := has[name]; !ok && value == realm.Mask {
				missing = append(missing, name)
				delete(shared, name)
			}
		}
		if len(shared) == 0 {
			delete(config, "shared")
		}
	}
	i.object(ctx, "realm", realmCollection, "id", r)
	last := &i.report[len(i.report)-1]
	if len(missing) > 0 && last.Result != becameFailed {
		slices.Sort(missing)
		last.Fields, last.Reason = missing, "the shared fields need values: "+executable.Command("realm set "+id)
	}
}

// secrets reports which secrets need values. None is written, but for one whose
// token nobody may see: that must not be forgotten when its values are entered.
func (i *fileImport) secrets(ctx context.Context, list []exportedSecret) {
	for _, s := range list {
		ref, err := refOf([]string{s.Realm, s.Key})
		var known map[string]any
		if err == nil {
			known, err = exists(ctx, i.client, secretPath(ref))
		}
		if err == nil && s.InjectOnly && known["inject_only"] != true && !i.dryRun {
			err = i.client.JSON(ctx, http.MethodPost, secretCollection, map[string]any{"realm": s.Realm, "key": s.Key, "inject_only": true}, nil)
		}
		line := imported{Kind: "secret", ID: s.Realm, Key: s.Key, Result: becameUnchanged}
		if err != nil {
			line.Result, line.Reason = becameFailed, err.Error()
			i.report = append(i.report, line)
			continue
		}
		has := secretNames(known)
		for _, name := range s.Fields {
			if !slices.Contains(has.Fields, name) {
				line.Fields = append(line.Fields, name)
			}
		}
		if len(line.Fields) > 0 {
			line.Result, line.Reason = becameNeedsValues, executable.Command("secret set "+s.Realm+" "+s.Key)
		}
		i.report = append(i.report, line)
	}
}

// object creates or updates one object, unless it is there as it should be.
func (i *fileImport) object(ctx context.Context, kind, collection, idName string, v map[string]any) {
	id := member(v, idName)
	if err := realm.ValidateID(idName, id); err != nil {
		i.add(kind, id, becameFailed, err.Error())
		return
	}
	known, err := exists(ctx, i.client, collection+"/"+url.PathEscape(id))
	if err != nil {
		i.add(kind, id, becameFailed, err.Error())
		return
	}
	result := becameUpdated
	switch {
	case known == nil:
		result = becameCreated
	case known["read_only"] == true:
		i.add(kind, id, becameFailed, "it is defined in the Caddyfile of this instance")
		return
	case reflect.DeepEqual(withoutOwn(known), withoutOwn(v)):
		i.add(kind, id, becameUnchanged, "")
		return
	}
	reason := ""
	if !i.dryRun {
		var answer struct {
			Key            realm.Hidden `json:"key"`
			ClosesLoopback bool         `json:"closes_loopback"`
		}
		if err := i.client.JSON(ctx, http.MethodPost, collection, withoutEchoes(v), &answer); err != nil {
			i.add(kind, id, becameFailed, err.Error())
			return
		}
		// The key that a new client got is not shown: the report may be kept.
		if answer.Key != "" {
			reason = executable.Command("client rotate "+id) + " gives it a key"
		}
		if answer.ClosesLoopback {
			reason = strings.TrimPrefix(reason+"; from now on only clients are served", "; ")
		}
	}
	i.add(kind, id, result, reason)
}

// withoutOwn is an object without what differs from instance to instance.
func withoutOwn(v map[string]any) map[string]any {
	copied := map[string]any{}
	for name, value := range v {
		if !slices.Contains(echoed, name) && (name != "id" || v["taxpayer_id"] == nil) {
			copied[name] = value
		}
	}
	return copied
}

func (i *fileImport) add(kind, id, result, reason string) {
	i.report = append(i.report, imported{Kind: kind, ID: id, Result: result, Reason: reason})
}

// finish writes the report.
func (i *fileImport) finish(cmd *cobra.Command, out output) error {
	failed := 0
	rows := make([][]cell, len(i.report))
	for n, line := range i.report {
		result := cell{text: line.Result}
		switch line.Result {
		case becameFailed:
			failed++
			result.ink = red
		case becameNeedsValues:
			result.ink = yellow
		}
		note := line.Reason
		if len(line.Fields) > 0 {
			note = strings.Join(line.Fields, ", ") + ": " + note
		}
		rows[n] = append(plain(line.Kind, strings.TrimSpace(line.ID+" "+line.Key)), result, cell{text: note})
	}
	var err error
	if out.json {
		err = printJSON(out, orEmptyReport(i.report))
	} else {
		err = out.table([]string{"KIND", "ID", "RESULT", "NOTE"}, rows)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d objects were not imported; the report says why", failed)
	}
	if i.dryRun {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "nothing was written: this was a dry run")
	}
	return err
}

func orEmptyReport(list []imported) []imported {
	if list == nil {
		return []imported{}
	}
	return list
}
