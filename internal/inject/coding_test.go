package inject

import (
	"net/http"
	"testing"
)

func TestNarrowCodings(t *testing.T) {
	for said, want := range map[string]string{
		"gzip":                          "gzip",
		"gzip,zstd":                     "gzip,zstd",
		"gzip, deflate, br, zstd":       "gzip, zstd",
		"br;q=1.0, gzip;q=0.8, *;q=0.1": "gzip;q=0.8, zstd;q=0.1",
		"*":                             "gzip, zstd",
		"zstd;q=0, *;q=0.5":             "zstd;q=0, gzip;q=0.5",
		"GZIP ; q=0.5 , deflate":        "GZIP ; q=0.5",
		"x-gzip, compress":              "x-gzip",
		"br":                            "identity",
		"br, deflate":                   "identity",
		"br, gzip;q=0":                  "identity",
		"br, identity;q=0":              "identity",
		"identity":                      "identity",
		"identity;q=0.5, br":            "identity;q=0.5",
		"gzip, identity;q=0, br":        "gzip, identity;q=0",
		"gzip, *;q=0":                   "gzip, *;q=0",
		"br, *;q=0":                     "identity",
		"gzip;q=0.000, br":              "identity",
		"gzip;q=much, br":               "gzip;q=much",
		"":                              "identity",
	} {
		equal(t, want, narrowCodings(said), said)
	}
}

// What leaves is narrowed where a rule looks into bodies, and only there. The
// caller's own header stays.
func TestNarrowAcceptEncoding(t *testing.T) {
	for renewOn, want := range map[string][]string{
		onStatus: {"br", "gzip"},
		onBody:   {"gzip"},
	} {
		for _, place := range []struct{ name string }{{"query"}, {"header"}} {
			l := apiLease(inQuery)
			if place.name == "header" {
				l = apiLease(inHeader)
			}
			l.Target.Dead = ruleOf(t, renewOn)
			req := get("/")
			req.Header["Accept-Encoding"] = []string{"br", "gzip"}
			out, _ := send(t, l, req)
			equal(t, want, out.Header["Accept-Encoding"], place.name)
			equal(t, http.Header{"Accept-Encoding": {"br", "gzip"}}, req.Header, "the caller's")
			req = get("/")
			out, _ = send(t, l, req)
			_, set := out.Header["Accept-Encoding"]
			equal(t, false, set, "a field that was not there")
		}
	}
}
