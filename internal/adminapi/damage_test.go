package adminapi

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"testing"

	_ "modernc.org/sqlite"
)

// alter changes the database as somebody would who can write it and does not
// have the key.
func (s *server) alter(statement string, args ...any) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	res, err := db.ExecContext(context.Background(), statement, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n != 1 || err != nil {
		s.t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}

// TestDamagedRows: one damaged row answered every list with 503. It is listed
// as what it is, everything else goes on, and the status names it.
func TestDamagedRows(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	for _, id := range []string{"good", "bad"} {
		s.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id":%q,"config":{"api":"https://api.example.com","grant":{"name":"static"}}}`, id))
		s.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":%q,"key":"main","fields":{"token":"t"}}`, id))
	}
	s.alter("UPDATE tokens_realms SET seal = x'00' WHERE id = x'626164'")
	s.alter("UPDATE tokens_secrets SET seal = x'00' WHERE realm = x'626164'")

	for target, want := range map[string]int{"/api/realm": 3, "/api/secret": 3} {
		a := s.must(http.MethodGet, target, "")
		list := at(a.document(), "data")["list"].([]any)
		if len(list) != want {
			t.Errorf("%s lists %d", target, len(list))
		}
		for _, item := range list {
			doc := item.(map[string]any)
			bad := doc["id"] == "bad" || doc["realm"] == "bad"
			if (doc["damaged"] == true) != bad {
				t.Errorf("%s: %v", target, doc)
			}
			if _, shown := doc["config"]; bad && shown {
				t.Errorf("%s shows what is damaged: %v", target, doc)
			}
		}
	}
	fresh := s.again(t)
	for _, target := range []string{"/api/realm/bad", "/api/secret/bad/main", "/api/token?realm=bad&key=main"} {
		a := fresh.get(target)
		a.refused(http.StatusServiceUnavailable, "damaged", "")
		if a.header.Get("Retry-After") != "" {
			t.Errorf("%s: asking again is of no use", target)
		}
	}
	s.must(http.MethodGet, "/api/realm/good", "")
	s.must(http.MethodGet, "/api/token?realm=good&key=main", "")
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	status := s.must(http.MethodGet, "/api/status", "").document()
	if got, want := fmt.Sprint(status["damaged"]), "[map[kind:realm realm:bad] map[key:main kind:secret realm:bad]]"; got != want {
		t.Errorf("the status says %s", got)
	}
	s.must(http.MethodDelete, "/api/realm/bad?cascade=true", "")
	if status := s.must(http.MethodGet, "/api/status", "").document(); status["damaged"] != nil {
		t.Errorf("after the deletion the status says %v", status["damaged"])
	}
}
