package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// listPresets answers GET /api/preset: a page of the catalogue, by name.
func (a *api) listPresets(ctx context.Context, r *request) (any, error) {
	show := func(p presets.Preset) presets.Preset { return p }
	return search(ctx, r, findPresets, show, func(presets.Preset) bool { return true })
}

// findPresets are those whose name, title or category holds the keyword.
func findPresets(_ context.Context, page tokenstore.Page, keyword string) ([]presets.Preset, int, error) {
	keyword = strings.ToLower(keyword)
	var found []presets.Preset
	for _, p := range presets.List() {
		text := strings.Join([]string{p.Name, p.Title.En, p.Title.Zh, p.Category}, "\n")
		if strings.Contains(strings.ToLower(text), keyword) {
			found = append(found, p)
		}
	}
	first := min((page.Number-1)*page.Size, len(found))
	return found[first:min(first+page.Size, len(found))], len(found), nil
}

// getPreset answers GET /api/preset/{name}.
func (a *api) getPreset(_ context.Context, r *request) (any, error) {
	p, err := presets.Get(r.ids[0])
	if errors.Is(err, presets.ErrUnknown) {
		return nil, &realm.Error{
			Code: realm.CodeNotFound, Status: http.StatusNotFound,
			Detail: "no preset has this name" + presets.Suggest(r.ids[0]) + "; GET /api/preset lists what there is",
		}
	}
	return p, err
}
