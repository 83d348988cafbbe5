package vault

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake answers like a Vault server, or an OpenBao one, whose API is the same: with the
// paths, the JSON and the status codes of the documented HTTP API.
//
//   - https://developer.hashicorp.com/vault/api-docs (status codes, {"errors": [...]})
//   - https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
//   - https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle
//   - https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login
//   - https://developer.hashicorp.com/vault/api-docs/auth/token (lookup-self, renew-self)
//   - https://openbao.org/api-docs/
type fake struct {
	*httptest.Server

	mu sync.Mutex
	// namespace is where all of it is.
	namespace string
	// roleID and secretID are those of AppRole; role and jwt those of Kubernetes.
	roleID, secretID, role, jwt string
	// life is that of the tokens of logins; period that of those that are renewed.
	life, period time.Duration
	// tokens are those that live, and when they end; zero for never.
	tokens map[string]time.Time
	// versions are those of the secrets, by <mount>/<path>; a nil one was deleted.
	versions map[string][]map[string]any
	// denied are the paths that no policy allows.
	denied map[string]bool
	lease  int // lease_duration of a read
	sealed bool
	now    time.Time
	// asked are the requests, as "GET kv/data/wx".
	asked []string
	// arrives is called with each request before it is looked at; nil: nothing is.
	arrives func(request string)
}

func newFake(t *testing.T) *fake {
	f := &fake{
		roleID: "role-1", secretID: "canary5f1c-secret-id", role: "tokens", jwt: "canary5f1c-jwt",
		life: time.Hour, period: time.Hour,
		tokens: map[string]time.Time{"canary5f1c-root": {}}, versions: map[string][]map[string]any{}, denied: map[string]bool{},
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// put saves a new version of a secret.
func (f *fake) put(path string, data map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.versions[path] = append(f.versions[path], data)
}

// set changes the server.
func (f *fake) set(change func(f *fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// count is how many requests there were of this kind.
func (f *fake) count(request string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.asked {
		if r == request {
			n++
		}
	}
	return n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if f.arrives != nil {
		f.arrives(r.Method + " " + path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+path)
	switch {
	case !ok || r.Header.Get("X-Vault-Namespace") != f.namespace:
		f.refuse(w, http.StatusNotFound, "no handler for route \""+path+"\". route entry not found.")
	case r.Header.Get("X-Vault-Request") != "true":
		f.refuse(w, http.StatusPreconditionFailed, "missing X-Vault-Request header")
	case r.Header.Get("X-Vault-Wrap-Ttl") != "": // the answer would be a token that unwraps it
		f.answer(w, http.StatusOK, envelope(0, nil, nil))
	case f.sealed:
		f.refuse(w, http.StatusServiceUnavailable, "Vault is sealed")
	case path == "auth/approle/login", path == "auth/kubernetes/login":
		f.logIn(w, r, path)
	case !f.isAlive(r.Header.Get("X-Vault-Token")):
		f.refuse(w, http.StatusForbidden, "permission denied", "invalid token")
	case path == "auth/token/lookup-self" && r.Method == http.MethodGet:
		f.lookUp(w, r.Header.Get("X-Vault-Token"))
	case path == "auth/token/renew-self" && (r.Method == http.MethodPut || r.Method == http.MethodPost):
		f.renew(w, r.Header.Get("X-Vault-Token"))
	default:
		f.read(w, r, path)
	}
}

// refuse answers as Vault does with an error.
func (f *fake) refuse(w http.ResponseWriter, status int, errors ...string) {
	f.answer(w, status, map[string]any{"errors": errors})
}

func (f *fake) answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// envelope is what all answers have.
func envelope(lease int, data, auth any) map[string]any {
	return map[string]any{
		"request_id": "0a1b2c3d-0000-0000-0000-000000000000", "lease_id": "", "renewable": false, "lease_duration": lease,
		"data": data, "wrap_info": nil, "warnings": nil, "auth": auth, "mount_type": "kv",
	}
}

func (f *fake) logIn(w http.ResponseWriter, r *http.Request, path string) {
	var body map[string]string
	if r.Method != http.MethodPut && r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&body) != nil {
		f.refuse(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	switch {
	case path == "auth/approle/login" && (body["role_id"] != f.roleID || body["secret_id"] != f.secretID):
		f.refuse(w, http.StatusBadRequest, "invalid role or secret ID")
		return
	case path == "auth/kubernetes/login" && (body["role"] != f.role || body["jwt"] != f.jwt):
		f.refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	token := fmt.Sprintf("hvs.canary5f1c-%d", len(f.asked))
	f.tokens[token] = f.now.Add(f.life)
	f.answer(w, http.StatusOK, envelope(0, nil, f.auth(token, f.life)))
}

func (f *fake) auth(token string, life time.Duration) map[string]any {
	return map[string]any{
		"client_token": token, "accessor": "acc", "policies": []string{"default", "tokens"}, "token_policies": []string{"default", "tokens"},
		"metadata": map[string]string{"role_name": "tokens"}, "lease_duration": int(life / time.Second), "renewable": true,
		"entity_id": "e", "token_type": "service", "orphan": true, "mfa_requirement": nil, "num_uses": 0,
	}
}

func (f *fake) isAlive(token string) bool {
	end, ok := f.tokens[token]
	return ok && (end.IsZero() || f.now.Before(end))
}

func (f *fake) lookUp(w http.ResponseWriter, token string) {
	end := f.tokens[token]
	ttl := 0
	if !end.IsZero() {
		ttl = int(end.Sub(f.now) / time.Second)
	}
	f.answer(w, http.StatusOK, envelope(0, map[string]any{
		"id": token, "ttl": ttl, "renewable": !end.IsZero(), "policies": []string{"tokens"}, "type": "service", "num_uses": 0, "orphan": true,
	}, nil))
}

func (f *fake) renew(w http.ResponseWriter, token string) {
	if f.tokens[token].IsZero() {
		f.refuse(w, http.StatusBadRequest, "lease is not renewable")
		return
	}
	f.tokens[token] = f.now.Add(f.period)
	f.answer(w, http.StatusOK, envelope(0, nil, f.auth(token, f.period)))
}

// read is a read of the newest version.
func (f *fake) read(w http.ResponseWriter, r *http.Request, path string) {
	mount, rest, isData := strings.Cut(path, "/data/")
	if f.denied[mount+"/"+rest] {
		f.refuse(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	}
	versions := f.versions[mount+"/"+rest]
	if r.Method != http.MethodGet || !isData || len(versions) == 0 {
		f.refuse(w, http.StatusNotFound)
		return
	}
	newest := versions[len(versions)-1]
	metadata := map[string]any{
		"created_time": "2026-01-01T00:00:00.000000001Z", "custom_metadata": nil, "deletion_time": "", "destroyed": false, "version": len(versions),
	}
	status := http.StatusOK
	var data any = newest
	if newest == nil { // 404, and nevertheless a body with data
		status, data = http.StatusNotFound, nil
		metadata["deletion_time"] = "2026-01-01T00:00:01.000000001Z"
	}
	f.answer(w, status, envelope(f.lease, map[string]any{"data": data, "metadata": metadata}, nil))
}
