package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// Connection is how the server is reached, and who is signed in.
type Connection struct {
	// The URL of the server: https://vault.example.com:8200. Required, here or in the
	// tokens block.
	Address string `json:"address,omitempty"`

	// The namespace, of Vault Enterprise or OpenBao. Default: none.
	Namespace string `json:"namespace,omitempty"`

	// The certificate authorities of the server, as PEM or as the absolute path of a
	// file. Default: those of the system.
	CA string `json:"ca,omitempty"`

	// A token, which is renewed while the configuration is in force, if it can be. One of token,
	// token_file, approle and kubernetes is required beside the address.
	Token string `json:"token,omitempty"`

	// The absolute path of a file with a token, which somebody else renews: it is read
	// for every request.
	TokenFile string `json:"token_file,omitempty"`

	// Sign in by AppRole.
	AppRole *AppRole `json:"approle,omitempty"`

	// Sign in by the service account of the pod.
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`
}

// AppRole signs in a machine by a role and a secret of its own.
type AppRole struct {
	// The id of the role. Required.
	RoleID string `json:"role_id"`

	// The secret id. It, or secret_id_file, is required where the role has one.
	SecretID string `json:"secret_id,omitempty"`

	// The absolute path of a file with the secret id, which is read at each login.
	SecretIDFile string `json:"secret_id_file,omitempty"`

	// Where the method is mounted. Default: approle.
	Mount string `json:"mount,omitempty"`
}

// Kubernetes signs in a pod by its service account.
type Kubernetes struct {
	// The name of the role. Required.
	Role string `json:"role"`

	// The absolute path of the token of the service account, which is read at each
	// login. Default: /var/run/secrets/kubernetes.io/serviceaccount/token.
	JWTFile string `json:"jwt_file,omitempty"`

	// Where the method is mounted. Default: kubernetes.
	Mount string `json:"mount,omitempty"`
}

// defaultJWT is where Kubernetes puts the token of a service account.
const defaultJWT = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// refuseLone refuses a way to sign in without an address.
func (c *Connection) refuseLone() error {
	if *c != (Connection{}) {
		return errors.New("needs an address beside how it is reached")
	}
	return nil
}

// check reports what is wrong with the connection.
func (c *Connection) check() error {
	u, err := url.Parse(c.Address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return errors.New("address must be an http or https URL without a user")
	}
	ways := 0
	for _, isGiven := range []bool{c.Token != "", c.TokenFile != "", c.AppRole != nil, c.Kubernetes != nil} {
		if isGiven {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("needs one of token, token_file, approle and kubernetes")
	case c.AppRole != nil && c.AppRole.RoleID == "":
		return errors.New("approle needs a role_id")
	case c.AppRole != nil && c.AppRole.SecretID != "" && c.AppRole.SecretIDFile != "":
		return errors.New("approle has both secret_id and secret_id_file")
	case c.Kubernetes != nil && c.Kubernetes.Role == "":
		return errors.New("kubernetes needs a role")
	}
	return nil
}

// isInClear reports whether the token would go to another machine in clear.
func (c *Connection) isInClear() bool {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme == "https" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// client is Vault's own client for the connection. The settings of the environment,
// which the client would take, are not used: the configuration says all.
func (c *Connection) client() (*api.Client, *http.Transport, error) {
	roots, err := authorities(c.CA)
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: true,
	}
	// What comes behind an answer may hold a secret, and net/http would log it.
	inject.GuardConnections(transport, func() {})
	client, err := api.NewClient(&api.Config{
		Address: c.Address, MaxRetries: 0,
		HttpClient: &http.Client{
			Transport:     boundedTransport{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the client follows one to another node itself
		},
	})
	if err != nil {
		return nil, nil, errors.New("the client of Vault does not take the address")
	}
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	client.ClearToken()
	client.SetWrappingLookupFunc(func(string, string) string { return "" }) // else that of VAULT_WRAP_TTL
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return client, transport, nil
}

// authorities are the certificates in a PEM text or file; nil for "".
func authorities(ca string) (*x509.CertPool, error) {
	if ca == "" {
		return nil, nil //nolint:nilnil // those of the system
	}
	text := []byte(ca)
	if filepath.IsAbs(ca) {
		var err error
		if text, err = os.ReadFile(ca); err != nil { // #nosec G304 -- the operator names the file
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("ca: there is no certificate in it")
	}
	return pool, nil
}

// maxAnswer bounds an answer of the server.
const maxAnswer = 1 << 20

// boundedTransport cuts answers off that are too long.
type boundedTransport struct{ next *http.Transport }

// RoundTrip sends the request.
func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// readFile is the content of a file that holds a credential.
func readFile(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("the path %s must be absolute", path)
	}
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return "", err
	}
	if credential := strings.TrimSpace(string(text)); credential != "" {
		return credential, nil
	}
	return "", fmt.Errorf("the file %s is empty", path)
}
