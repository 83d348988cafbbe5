package fakeprovider

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// A process that was killed leaves a request behind that the provider has not
// read yet: Settle waits until it has, so that the ledger is whole.
func TestSettleWaitsForWhatWasSent(t *testing.T) {
	p := New(Options{Credentials: map[string]string{"app": "secret"}, Rule: &Rule{Semantics: Parallel}})
	base := p.Start(t)
	body := "grant_type=client_credentials&client_id=app&client_secret=secret"
	for sent := 1; sent <= 50; sent++ {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		p.Settle(t)
		if got := len(p.Issued()); got != sent {
			t.Fatalf("the ledger has %d tokens after %d requests", got, sent)
		}
	}
}
