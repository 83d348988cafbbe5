package adminapi

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// done is the answer to what leaves nothing to show.
type done struct {
	Success string `json:"success"`
}

// list is a page of a list and the length of the whole.
type list[T any] struct {
	Data    listData[T] `json:"data"`
	Success string      `json:"success"`
}

type listData[T any] struct {
	List  []T `json:"list"`
	Total int `json:"total"`
}

// success is what every "success" says.
const success = "ok"

// listOf makes the answer of a list, each item shown by show. An empty list
// is [], never null.
func listOf[I, T any](items []I, total int, show func(I) T) list[T] {
	shown := make([]T, 0, len(items))
	for _, item := range items {
		shown = append(shown, show(item))
	}
	return list[T]{Data: listData[T]{List: shown, Total: total}, Success: success}
}

// search answers with the page that the query asks for, of those that hold its
// keyword and that the caller may see.
func search[I, T any](
	ctx context.Context, r *request, find func(ctx context.Context, page tokenstore.Page, keyword string) ([]I, int, error),
	show func(I) T, may func(I) bool,
) (any, error) {
	page, err := r.query.page()
	if err != nil {
		return nil, err
	}
	keyword, err := r.query.text("keyword")
	if err != nil {
		return nil, err
	}
	items, total, err := allowed(r.caller, page, func(page tokenstore.Page) ([]I, int, error) {
		return find(ctx, page, keyword)
	}, may)
	return listOf(items, total, show), err
}
