package adminapi

import (
	"fmt"
	"net/http"
	"testing"
)

// BenchmarkLists: the longest pages that the console asks for.
func BenchmarkLists(b *testing.B) {
	s := newServer(b)
	const secrets = 1000
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"grant":{"name":"static"},"inject":[{"place":"url","name":"t"}]}}`)
	for i := range secrets {
		s.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":"r","key":"k%d","token":"0123456789abcdef"}`, i))
		s.must(http.MethodGet, fmt.Sprintf("/api/token?realm=r&key=k%d", i), "")
	}
	for _, target := range []string{"/api/status", "/api/status?page=1", "/api/secret?status=true&pageSize=1000", "/api/realm?counts=true"} {
		b.Run(target, func(b *testing.B) {
			for b.Loop() {
				s.h.ServeHTTP(discarded{}, mustRequest(b, b.Context(), target))
			}
		})
	}
}

// discarded is the ResponseWriter of a reader who reads everything.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(p []byte) (int, error) { return len(p), nil }
func (discarded) WriteHeader(int)             {}
