package fakeprovider_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// post asks for a token over a pipe.
func post(ctx context.Context, c *http.Client) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://provider.test/oauth2/token",
		strings.NewReader("grant_type=client_credentials&client_id=app&client_secret=s3cret"))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.Do(req)
}

func pipedClient(t *testing.T) (*fakeprovider.Provider, *http.Client) {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"app": "s3cret"}})
	return p, &http.Client{Transport: &http.Transport{DialContext: p.Pipe(t)}}
}

// The bubble's clock goes on while a request is under way: an hour of it takes
// no time.
func TestPipeLetsABubbleGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipedClient(t)
		p.Set(fakeprovider.Faults{Latency: time.Hour})
		began := time.Now()
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				resp, err := post(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = resp.Body.Close() }()
				if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "access_token") {
					t.Errorf("%s, %v", body, err)
				}
			})
		}
		callers.Wait()
		if took := time.Since(began); took != time.Hour || p.Peak() != 3 {
			t.Errorf("it took %v; %d at once", took, p.Peak())
		}
	})
}

func TestPipeTellsTheProviderThatTheCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipedClient(t)
		p.Set(fakeprovider.Faults{Latency: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		resp, err := post(ctx, c)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		<-time.After(2 * time.Hour)
		if p.Fetches() != 1 || len(p.Issued()) != 0 {
			t.Errorf("%d fetches, %d issued", p.Fetches(), len(p.Issued()))
		}
	})
}

func TestTrickleIsAnAnswerByTheByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipedClient(t)
		p.Set(fakeprovider.Faults{Trickle: time.Second, Answer: "as plain text"})
		began := time.Now()
		resp, err := post(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if took := time.Since(began); err != nil || took != time.Duration(len(body))*time.Second {
			t.Errorf("%d bytes in %v, %v", len(body), took, err)
		}
	})
}
