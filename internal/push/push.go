// Package push reads what providers push to their clients: the tickets of WeChat
// open platforms, WeCom suites and Feishu store apps. It verifies who sent a
// request, opens it and says what is to be kept of it. It knows neither stores
// nor Caddy, and does no I/O.
//
// A request proves itself: nobody without the token, and the key if there is
// one, can make it. Its signature is held against the body before anything is
// decrypted, so that whoever tries out ciphertexts learns nothing. Its timestamp,
// which the signature covers, must be of now: a request that was overheard is
// good for Window. Only the request by which Feishu verifies a URL has no
// signature; it brings nothing.
package push

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// Window is how far the time of a request may be from now, in either
	// direction. The providers repeat what was not answered within seconds; a
	// ticket that is lost for longer comes again with the next one.
	Window = 10 * time.Minute
	// MaxBody bounds a request, in bytes: a ticket has less than one KiB.
	MaxBody = 64 << 10
)

// ErrRefused wraps why a request is refused. The reason is for a log; whoever
// sent the request must not learn it.
var ErrRefused = errors.New("refused")

func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// Keys is what the secret has for the requests of its provider.
type Keys struct {
	// Token is the field push_token, AESKey the field push_aes_key.
	Token, AESKey realm.Hidden
	// Receivers are the ids that a request may be meant for, see realm.ReceiverFields.
	Receivers []realm.Hidden
}

// Request is what was sent.
type Request struct {
	Method string
	Query  url.Values
	Header http.Header
	Body   []byte
	Now    time.Time
}

// Answer is what to do about a request.
type Answer struct {
	// Field is to get the value, for the life; "": nothing is to be kept.
	Field string
	Value realm.Hidden
	Life  time.Duration
	// ContentType and Body are what the provider is told.
	ContentType string
	Body        []byte
}

// Read verifies and opens a request in the format of a realm, one of
// realm.PushFormats. Errors wrap ErrRefused.
func Read(format string, keys Keys, r Request) (Answer, error) {
	if keys.Token == "" {
		return Answer{}, refused("the secret has no field push_token")
	}
	switch format {
	case realm.PushWeChat, realm.PushWeCom:
		return readTencent(format, keys, r)
	case realm.PushFeishu:
		return readFeishu(keys, r)
	}
	return Answer{}, refused("the realm has no push")
}

// isFresh reports whether a time in seconds since 1970 is of now.
func isFresh(seconds string, now time.Time) bool {
	n, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && now.Sub(time.Unix(n, 0)).Abs() <= Window
}

// isEqual compares in a time that does not depend on what is equal. Nothing
// equals an empty text.
func isEqual(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// isFor reports whether a request is meant for one of the receivers.
func (k *Keys) isFor(id string) bool {
	found := false
	for _, receiver := range k.Receivers {
		found = isEqual(receiver.Reveal(), id) || found
	}
	return found
}
