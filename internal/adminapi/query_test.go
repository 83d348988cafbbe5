package adminapi

import (
	"net/http"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestPaging(t *testing.T) {
	for _, tt := range []struct {
		query string
		page  tokenstore.Page
		wrong string
	}{
		{"", tokenstore.Page{Number: 1, Size: 10}, ""},
		{"page=&pageSize=", tokenstore.Page{Number: 1, Size: 10}, ""},
		{"page=3&pageSize=1000&_=1732", tokenstore.Page{Number: 3, Size: 1000}, ""},
		{"pag%65=3", tokenstore.Page{Number: 3, Size: 10}, ""},
		{"page=1000000000", tokenstore.Page{Number: 1_000_000_000, Size: 10}, ""},
		{"page=0", tokenstore.Page{}, "page"},
		{"page=-1", tokenstore.Page{}, "page"},
		{"page=1.5", tokenstore.Page{}, "page"},
		{"page=1e3", tokenstore.Page{}, "page"},
		{"page=x", tokenstore.Page{}, "page"},
		{"page=%20", tokenstore.Page{}, "page"},
		{"page=1000000001", tokenstore.Page{}, "page"},
		{"page=99999999999999999999", tokenstore.Page{}, "page"},
		{"page=1&page=2", tokenstore.Page{}, "page"},
		{"page=%zz", tokenstore.Page{}, "page"},
		{"page=%ff", tokenstore.Page{}, "page"},
		{"pageSize=0", tokenstore.Page{}, "pageSize"},
		{"pageSize=1001", tokenstore.Page{}, "pageSize"},
		{"pageSize=99999999999999999999", tokenstore.Page{}, "pageSize"},
		{"pageSize=5&pageSize=5", tokenstore.Page{}, "pageSize"},
	} {
		for _, path := range []string{"/api/realm", "/api/secret"} {
			p, c := newPuppet(t)
			a := c.get(path + "?" + tt.query)
			if tt.wrong != "" {
				a.wrong(tt.wrong)
				continue
			}
			a.ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
			if p.page != tt.page {
				t.Errorf("%s?%s: %v", path, tt.query, p.page)
			}
		}
	}
}

func TestTextParameters(t *testing.T) {
	for query, want := range map[string]string{
		"keyword=50%25_a":                          "50%_a",
		"keyword=%E5%BE%AE%E4%BF%A1":               "微信",
		"keyword=微信":                               "微信",
		"keyword=a+b":                              "a b",
		"keyword=a=b":                              "a=b",
		"keyword=a%26b&page=2":                     "a&b",
		"keyword=a;page=2":                         "a;page=2",
		"keywords=x&Keyword=y&keyword%20=z&%zz=1&": "",
	} {
		p, c := newPuppet(t)
		c.get("/api/realm?" + query).ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
		if p.keyword != want {
			t.Errorf("%s: %q", query, p.keyword)
		}
	}
	_, c := newPuppet(t)
	c.get("/api/realm?keyword=%ff").wrong("keyword")
	c.get("/api/realm?keyword=a&keyword=b").wrong("keyword")
	c.get("/api/secret?realm=a&realm=b").wrong("realm")
}

func TestFlags(t *testing.T) {
	for value, want := range map[string]bool{"": false, "false": false, "0": false, "true": true, "1": true} {
		p, c := newPuppet(t)
		c.send(http.MethodDelete, "/api/realm/a?cascade="+value, nil).ok(`{"success":"ok"}`)
		if p.cascade != want {
			t.Errorf("cascade=%s is %v", value, p.cascade)
		}
	}
	for _, value := range []string{"yes", "TRUE", "True", "2", "%20true", "null"} {
		p, c := newPuppet(t)
		c.send(http.MethodDelete, "/api/realm/a?cascade="+value, nil).wrong("cascade")
		c.get("/api/token?realm=a&key=b&flush=" + value).wrong("flush")
		if p.ref.Realm != "" {
			t.Errorf("%s reached the broker", value)
		}
	}
}
