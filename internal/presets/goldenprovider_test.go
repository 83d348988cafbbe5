//go:debug x509usefallbackroots=1

package presets_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for whatever host a preset names.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

var goldenAuthority authority

// The tests trust goldenAuthority and nobody else, so that the presets can be
// called as they are, with TLS and all.
func TestMain(m *testing.M) {
	goldenAuthority = newAuthority()
	roots := x509.NewCertPool()
	roots.AddCert(goldenAuthority.cert)
	x509.SetFallbackRoots(roots)
	os.Exit(m.Run())
}

func newAuthority() authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "presets"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return authority{key, cert}
}

// certify makes the certificate of the host that a client asks for.
func (a authority) certify(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{hello.ServerName}, NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &a.key.PublicKey, a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}, err
}

// goldenProvider takes the connections to every host, and answers as told.
type goldenProvider struct {
	address string

	mu      sync.Mutex
	answer  goldenAnswer
	content string
	sent    [][]string
}

func newGoldenProvider(t *testing.T) *goldenProvider {
	t.Helper()
	p := &goldenProvider{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sent = append(p.sent, renderRequest(t, r, "https://"+r.Host+r.RequestURI))
		for name, value := range p.answer.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(p.answer.Status)
		_, _ = io.WriteString(w, p.content)
	}))
	server.TLS = &tls.Config{GetCertificate: goldenAuthority.certify}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	p.address = server.Listener.Addr().String()
	return p
}

// dial connects to the provider, whatever the address.
func (p *goldenProvider) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, p.address)
}

// answerWith has the provider answer the requests that follow.
func (p *goldenProvider) answerWith(t *testing.T, a goldenAnswer) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.content, p.sent = a, a.content(t), nil
	if a.Status == 0 {
		p.answer.Status = http.StatusTeapot // of a call that sends nothing
	}
}

// checkSent compares the requests since the last answerWith: one, or none.
func (p *goldenProvider) checkSent(t *testing.T, what string, want []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(want) == 0 && len(p.sent) == 0:
	case len(p.sent) != 1:
		t.Errorf("%s: %d requests were sent: %q", what, len(p.sent), p.sent)
	default:
		checkLines(t, what, want, p.sent[0])
	}
}

// leftOut are headers that say nothing of a preset.
var leftOut = []string{"User-Agent", "Accept-Encoding", "Content-Length", "Connection"}

// renderRequest is a request as the golden files have it: the request line, the
// headers in alphabetical order, and behind an empty line the body.
func renderRequest(t *testing.T, r *http.Request, url string) []string {
	t.Helper()
	lines := []string{r.Method + " " + url}
	var header []string
	for name, values := range r.Header {
		if slices.Contains(leftOut, name) || name == "Accept" && slices.Contains([]string{"application/json", "*/*"}, values[0]) {
			continue
		}
		for _, value := range values {
			header = append(header, name+": "+value)
		}
	}
	slices.Sort(header)
	lines = append(lines, header...)
	if r.Body == nil {
		return lines
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if len(body) > 0 {
		lines = append(append(lines, ""), strings.Split(string(body), "\n")...)
	}
	return lines
}
