package adminapi

import (
	"net/http"
	"net/url"
	"testing"
)

// acme is a company as the earlier service's table has it.
const acme = `{"id":31,"company_name":"甲公司","taxpayer_id":"91110000X","company_phone":"010-1","company_registered_address":"北京",
	"bank_name":"ICBC","bank_account":"6222","jd_account":"acme","sn_account":"","created_at":"2020-01-01T00:00:00Z","updated_at":null}`

// Companies over a real store: created as the earlier service's rows are,
// changed member by member, listed, deleted.
func TestCompanies(t *testing.T) {
	s := newServer(t, definition())
	for _, id := range []string{"jd", "sn"} {
		s.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":{"grant":{"name":"static"}}}`)
	}
	const rest = `"company_name":"甲公司","taxpayer_id":"91110000X","company_registered_address":"北京","bank_name":"ICBC","bank_account":"6222"`
	show := func(a answer, want string) {
		t.Helper()
		a.without("id", "created_at", "updated_at").ok(want)
	}
	show(s.json(http.MethodPost, "/api/company", acme), `{`+rest+`,"company_phone":"010-1","accounts":{"jd":"acme"}}`)
	show(s.json(http.MethodPost, "/api/company", `{"taxpayer_id":"91110000X","company_phone":null,"accounts":{"file":"main"}}`),
		`{`+rest+`,"company_phone":"","accounts":{"jd":"acme","file":"main"}}`)
	show(s.json(http.MethodPost, "/api/company", `{"taxpayer_id":"91110000X","accounts":{"jd":null,"sn":"x"},"sn_account":"x"}`),
		`{`+rest+`,"company_phone":"","accounts":{"file":"main","sn":"x"}}`)
	show(s.get("/api/company/91110000X"), `{`+rest+`,"company_phone":"","accounts":{"file":"main","sn":"x"}}`)
	shown := s.get("/api/company/91110000X") // and back as it came
	show(s.json(http.MethodPost, "/api/company", shown.body), `{`+rest+`,"company_phone":"","accounts":{"file":"main","sn":"x"}}`)
	show(s.json(http.MethodPost, "/api/company", `{"taxpayer_id":"91110000X","accounts":null,"jd_account":"y"}`),
		`{`+rest+`,"company_phone":"","accounts":{"jd":"y"}}`)

	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"新/公司"}`)
	for query, want := range map[string]float64{"": 2, "?keyword=甲": 1, "?keyword=" + url.QueryEscape("新/"): 1, "?keyword=%25": 0, "?pageSize=1&page=2": 2} {
		data, _ := s.get("/api/company" + query).document()["data"].(map[string]any)
		if data["total"] != want {
			t.Errorf("%s: %v", query, data)
		}
	}
	s.get("/api/company?page=0").wrong("page")
	s.must(http.MethodDelete, "/api/company/"+url.PathEscape("新/公司"), "").ok(`{"success":"ok"}`)
	s.get("/api/company/"+url.PathEscape("新/公司")).refused(http.StatusNotFound, "company_not_found", "")
	s.json(http.MethodDelete, "/api/company/x", "").refused(http.StatusNotFound, "company_not_found", "")
}

// A company finds its account, and what it does not find is told apart.
func TestAccountsOfCompanies(t *testing.T) {
	s := newServer(t, definition())
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"1","accounts":{"file":"main"}}`)
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"2"}`)
	s.send(http.MethodPost, "/file-account/get-access-token?taxpayerId=1", nil).text("fixed-1")
	for path, code := range map[string]string{
		"/file-account/get-access-token":              "secret_not_found", // it has no default
		"/file-account/get-access-token?taxpayerId=2": "secret_not_found",
		"/file-account/get-access-token?taxpayerId=3": "company_not_found",
		"/nobody-account/get-access-token":            "realm_not_found",
		"/nobody-account/init-all-token":              "realm_not_found",
	} {
		s.send(http.MethodPost, path, nil).refused(http.StatusNotFound, code, "")
	}
	s.send(http.MethodPost, "/file-account/request-access-token?taxpayerId=1", nil).refused(http.StatusConflict, "not_authorizable", "")
	s.send(http.MethodPost, "/file-account/refresh-token?taxpayerId=1", nil).refused(http.StatusExpectationFailed, "fixed_token", "")
	s.send(http.MethodPost, "/file-account/refresh-all-token", nil).
		ok(`{"data":{"list":[{"key":"main","result":"skipped","reason":"the token has no end"}],"total":1},"success":"ok"}`)
	s.get("/file-account/callback-token?code=a&state=b").html(http.StatusBadRequest, pageWrong)
	s.get("/nobody-account/callback-token?code=a&state=b").html(http.StatusBadRequest, pageWrong)
}

func TestCompanyMembers(t *testing.T) {
	for _, tt := range []struct{ body, field string }{
		{`{}`, "taxpayer_id"},
		{`{"taxpayer_id":null}`, "taxpayer_id"},
		{`{"taxpayer_id":9111}`, "taxpayer_id"},
		{`{"taxpayer_id":"a b"}`, "taxpayer_id"},
		{`{"taxpayer_id":"1","company_name":5}`, "company_name"},
		{`{"taxpayer_id":"1","company_phone":["x"]}`, "company_phone"},
		{`{"taxpayer_id":"1","bank_name":"a\u0000b"}`, "bank_name"},
		{`{"taxpayer_id":"1","bank":"x"}`, "bank"},
		{`{"taxpayer_id":"1","accounts":"x"}`, "accounts"},
		{`{"taxpayer_id":"1","accounts":["x"]}`, "accounts"},
		{`{"taxpayer_id":"1","accounts":{"jd":5}}`, "accounts.jd"},
		{`{"taxpayer_id":"1","accounts":{"jd":"a","jd":"b"}}`, "accounts.jd"},
		{`{"taxpayer_id":"1","accounts":{"":"b"}}`, "accounts"},
		{`{"taxpayer_id":"1","accounts":{"jd":"a"},"jd_account":"b"}`, "jd_account"},
		{`{"taxpayer_id":"1","accounts":{"jd":"a"},"jd_account":null}`, "jd_account"},
		{`{"taxpayer_id":"1","sn_account":5}`, "sn_account"},
	} {
		p, c := newPuppet(t)
		c.json(http.MethodPost, "/api/company", tt.body).wrong(tt.field)
		if p.ref.Realm != "" {
			t.Errorf("%s reached the broker", tt.body)
		}
	}
	s := newServer(t)
	s.json(http.MethodPost, "/api/company", `{"taxpayer_id":"1","jd_account":"b"}`).wrong("accounts.jd")
}
