package catalog

import "github.com/caddy-tokens/caddy-tokens/tokenstore"

// paged makes one list of two: own, which is in memory, and behind it what
// the store has. The store knows pages only, and the wanted stretch of it may
// lie across two of them. Of own, only what is on the page is made with show: there
// may be ten thousand.
func paged[O, T any](
	page tokenstore.Page, own []O, show func(O) T, stored func(tokenstore.Page) ([]T, int, error),
) ([]T, int, error) {
	first := (page.Number - 1) * page.Size
	var list []T
	if first < len(own) {
		for _, item := range own[first:min(first+page.Size, len(own))] {
			list = append(list, show(item))
		}
	}
	from := max(first-len(own), 0)
	missing := page.Size - len(list)
	number := from/page.Size + 1
	rows, total, err := stored(tokenstore.Page{Number: number, Size: page.Size})
	if err != nil {
		return nil, 0, err
	}
	rows = rows[min(from%page.Size, len(rows)):]
	if len(rows) < missing && from%page.Size != 0 {
		more, _, err := stored(tokenstore.Page{Number: number + 1, Size: page.Size})
		if err != nil {
			return nil, 0, err
		}
		rows = append(rows, more...)
	}
	list = append(list, rows[:min(missing, len(rows))]...)
	return list, len(own) + total, nil
}
