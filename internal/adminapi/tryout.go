package adminapi

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// tryout is the answer to a dry run.
type tryout struct {
	grant.Report
	Advice []doctor.Advice `json:"advice"`
	// Sources tell where fields come from that do not stand in the Caddyfile.
	Sources []catalog.SourceStatus `json:"sources,omitempty"`
	Call    *doctor.Call           `json:"call,omitempty"`
}

// testRealm makes a token request and tells what happened, with advice: a provider
// that refuses is a successful test.
func (a *api) testRealm(ctx context.Context, r *request) (any, error) {
	ref := realm.Ref{Realm: r.ids[0]}
	o, err := decodeObject(r.body)
	if err != nil {
		return nil, err
	}
	if ref.Key, err = o.need("key"); err != nil {
		return nil, err
	}
	config, err := takeConfig(o)
	if err != nil {
		return nil, err
	}
	call, err := takeCall(o, config != nil)
	if err != nil {
		return nil, err
	}
	if err := o.end(); err != nil {
		return nil, err
	}
	if err := r.require(access.Admin, ref); err != nil {
		return nil, err
	}
	if call != nil {
		if err := a.mayCall(r, ref); err != nil {
			return nil, err
		}
	}
	if config != nil {
		if *config, err = a.trialConfig(ctx, r, *config); err != nil {
			return nil, err
		}
	}
	if err := a.requireTestedParents(ctx, r, ref, config); err != nil {
		return nil, err
	}
	c, err := a.newCase(ctx, ref, config)
	if err != nil {
		return nil, err
	}
	if c.Report, err = a.broker.Test(ctx, ref, config); err != nil {
		return nil, err
	}
	if call != nil {
		c.Call = a.call(ctx, ref, call)
	}
	return plainJSON(tryout{Report: c.Report, Advice: doctor.Advise(c), Sources: a.catalog.SourcesOf(ref), Call: c.Call})
}

// trialConfig is a config that is tried in place of the realm's own: that takes the
// right to change it.
func (a *api) trialConfig(ctx context.Context, r *request, config realm.Config) (realm.Config, error) {
	ref := realm.Ref{Realm: r.ids[0]}
	if err := r.require(access.Admin, ref); err != nil {
		return config, err
	}
	stored, err := a.catalog.RealmInfo(ctx, ref.Realm)
	if err != nil {
		return config, err
	}
	return unmask(config, stored.Config.Shared)
}

// newCase is what is known before anything is sent. What the preset says counts as
// the realm's own.
func (a *api) newCase(ctx context.Context, ref realm.Ref, config *realm.Config) (c doctor.Case, err error) {
	if config == nil {
		info, err := a.catalog.RealmInfo(ctx, ref.Realm)
		if err != nil {
			return c, err
		}
		config = &info.Config
	}
	c.Ref = ref
	if c.Config, err = presets.Apply(*config); err != nil || config.Preset == "" {
		return c, err
	}
	preset, err := presets.Get(config.Preset)
	c.Errors = preset.Errors
	return c, err
}
