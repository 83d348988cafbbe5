package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// calledWaiter is what became of somebody who waits for the token at the node
// that lives.
type calledWaiter struct {
	token string
	at    time.Time
	told  []int // the statuses before
	err   error
}

// wait has two wait at the node that lives: one for as long as it takes, and one
// of the earlier service's clients, who leaves after a second and comes again.
func (c *calledTrial) wait(ctx context.Context) {
	for _, ask := range []func(context.Context) (int, []byte){
		func(ctx context.Context) (int, []byte) {
			return patientCall(ctx, http.MethodGet, c.other.admin+c.ask())
		},
		func(ctx context.Context) (int, []byte) {
			return patientCall(ctx, http.MethodPost, c.other.admin+"/"+c.id+"-account/get-access-token?timeout=1")
		},
	} {
		served := make(chan calledWaiter, 1)
		c.waiters = append(c.waiters, served)
		go func() { served <- waitFor(ctx, ask) }()
	}
}

// patientCall is call without an end of its own.
func patientCall(ctx context.Context, method, url string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return sendBy(&http.Client{Transport: client.Transport}, req)
}

// tokenIn is the token of an answer of the one interface or the other.
func tokenIn(body []byte) string {
	var answer tokenAnswer
	if json.Unmarshal(body, &answer) == nil {
		return answer.Token
	}
	return string(body)
}

// waitFor asks until a token is given. Whatever else it is told has to say why
// there is none yet.
func waitFor(ctx context.Context, ask func(context.Context) (int, []byte)) (w calledWaiter) {
	for {
		status, body := ask(ctx)
		w.at = time.Now()
		switch status {
		case http.StatusOK:
			w.token = tokenIn(body)
			return w
		case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
			w.told = append(w.told, status)
		default:
			w.err = fmt.Errorf("told %d %s", status, body)
			return w
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return w
		}
	}
}
