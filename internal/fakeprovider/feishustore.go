package fakeprovider

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// An app of Feishu's app store: app_access_token takes the ticket that is pushed
// every hour. With the app's token in the body, tenant_access_token gives that of a
// company that installed the app.
// open.feishu.cn, "auth-v3/auth/app_access_token" and "tenant_access_token/create".

const tenantTokenPath = "/open-apis/auth/v3/tenant_access_token" // #nosec G101 -- a path

var feishuStoreApp = storeDialect(dialect{
	main: "/open-apis/auth/v3/app_access_token",
	endpoints: map[string]endpoint{"/open-apis/auth/v3/app_access_token": {
		name: "app", ask: askTicket("app_id", "app_secret", "app_ticket"), check: checkTicket,
	}},
	carried: carriedApp,
	names:   names{token: "app_access_token", expiry: "expire"},
	dead:    func(state) reply { return feishuError(http.StatusOK, 10013, "app access token is wrong") },
})

var feishuStore = storeDialect(dialect{
	main: tenantTokenPath,
	endpoints: map[string]endpoint{tenantTokenPath: {
		name: "tenant", public: true, ask: func(r *http.Request) (ask, Refusal) {
			a, _, refusal := askObject(r, "tenant_key")
			return a, refusal
		},
	}},
	carried: carriedBearer,
	names:   feishu.names,
	dead:    feishu.dead,
})

// storeDialect adds what the APIs have in common with those of an internal app.
func storeDialect(d dialect) dialect {
	d.rule, d.extras, d.ok = feishu.rule, feishu.extras, feishu.ok
	d.refuse = func(r Refusal) reply {
		if r == BadTicket {
			return feishuError(http.StatusOK, 10012, "app ticket is wrong")
		}
		return feishu.refuse(r)
	}
	return d
}

// carriedApp is the app's token: in the body of a request for a company's token, in
// the header of others. Whoever answers reads the body again.
func carriedApp(r *http.Request) []string {
	if r.URL.Path != tenantTokenPath {
		return carriedBearer(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var asked struct {
		Token string `json:"app_access_token"`
	}
	if json.Unmarshal(body, &asked) != nil || asked.Token == "" {
		return nil
	}
	return []string{asked.Token}
}
