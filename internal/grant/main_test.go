package grant

import (
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
)

// No call leaves a goroutine or a connection behind.
func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

// TestConcurrentUse: one program serves everybody (under the race detector).
func TestConcurrentUse(t *testing.T) {
	server := httptest.NewServer(answering(200, "", goodAnswer))
	t.Cleanup(server.Close)
	program, err := Compile(realmOf(t, `{"url":"@/{secret.a}","method":"POST","token_path":"access_token","api":"https://{secret.a}.example","arguments":[{"name":"a.b","place":"body","value":"$a"}],
		"inject":[{"place":"basic","name":"u"},{"place":"url","name":"t"}]}`, server.URL), true)
	if err != nil {
		t.Fatal(err)
	}
	client := testClient(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			b, err := program.Bind(secretOf(map[string]string{"a": "x"}))
			if err != nil {
				t.Error(err)
				return
			}
			got, err := b.Fetch(t.Context(), client, Request{Report: new(Report)})
			if err != nil {
				t.Error(err)
				return
			}
			if _, _, err := b.Place(got.Token.Access); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
