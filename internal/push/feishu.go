package push

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// feishuLife is how long an app_ticket counts. Feishu pushes one every hour and
// does not say how long it lives; its own SDKs keep it for 12 hours.
const feishuLife = 12 * time.Hour

// feishuEvent is an event in either of the forms that Feishu has, 1.0 and 2.0.
type feishuEvent struct {
	Type      string `json:"type"`
	Token     string `json:"token"`
	Challenge string `json:"challenge"`
	Header    struct {
		EventType string `json:"event_type"`
		Token     string `json:"token"`
		AppID     string `json:"app_id"`
	} `json:"header"`
	Event struct {
		Type      string `json:"type"`
		AppID     string `json:"app_id"`
		AppTicket string `json:"app_ticket"`
	} `json:"event"`
}

// readFeishu reads an event of Feishu or Lark. With an encrypt key, everything is
// encrypted, and signed but for the request that verifies the URL. Without one, the
// verification token is all that proves who sent it.
func readFeishu(keys Keys, r Request) (Answer, error) {
	if r.Method != http.MethodPost {
		return Answer{}, refused("the method is not POST")
	}
	isSigned := r.Header.Get("X-Lark-Signature") != ""
	if isSigned && keys.AESKey != "" {
		if err := verifyFeishu(keys, r); err != nil {
			return Answer{}, err
		}
	}
	message, err := openFeishu(keys, r)
	if err != nil {
		return Answer{}, err
	}
	var e feishuEvent
	if json.Unmarshal(message, &e) != nil {
		return Answer{}, refused("the event is no JSON object")
	}
	if !isEqual(keys.Token.Reveal(), e.Token) && !isEqual(keys.Token.Reveal(), e.Header.Token) {
		return Answer{}, refused("the verification token is wrong: is push_token that of the provider's console?")
	}
	if e.Type == "url_verification" {
		body, err := json.Marshal(map[string]string{"challenge": e.Challenge})
		return Answer{ContentType: typeJSON, Body: body}, err
	}
	if !isSigned && keys.AESKey != "" {
		return Answer{}, refused("the event is not signed")
	}
	return e.answer(keys)
}

const typeJSON = "application/json"

// openFeishu decrypts the body: base64 of the initial vector and of what it is for.
// What is not encrypted is taken only if the secret has no key.
func openFeishu(keys Keys, r Request) ([]byte, error) {
	if keys.AESKey == "" {
		return r.Body, nil
	}
	var envelope struct {
		Encrypt string `json:"encrypt"`
	}
	if json.Unmarshal(r.Body, &envelope) != nil || envelope.Encrypt == "" {
		return nil, refused("the event is not encrypted, and the secret has a push_aes_key")
	}
	sealed, err := base64.StdEncoding.DecodeString(envelope.Encrypt)
	if err != nil || len(sealed) <= blockSize {
		return nil, refused("what is encrypted is no base64")
	}
	key := sha256.Sum256([]byte(keys.AESKey.Reveal()))
	plain, ok := decrypt(key[:], sealed[:blockSize], sealed[blockSize:], blockSize)
	if !ok {
		return nil, refused("it cannot be decrypted: is push_aes_key the Encrypt Key of the provider's console?")
	}
	return plain, nil
}

// verifyFeishu verifies the signature of the body as it was sent.
func verifyFeishu(keys Keys, r Request) error {
	timestamp := r.Header.Get("X-Lark-Request-Timestamp")
	signed := timestamp + r.Header.Get("X-Lark-Request-Nonce") + keys.AESKey.Reveal()
	sum := sha256.Sum256(append([]byte(signed), r.Body...))
	switch {
	case !isEqual(hex.EncodeToString(sum[:]), r.Header.Get("X-Lark-Signature")):
		return refused("the signature is wrong")
	case !isFresh(timestamp, r.Now):
		return refused("the timestamp is more than 10 minutes from now")
	}
	return nil
}

// answer takes the ticket out of an event. Other events are none of ours.
func (e *feishuEvent) answer(keys Keys) (Answer, error) {
	a := Answer{ContentType: typeJSON, Body: []byte("{}")}
	if e.Event.Type != "app_ticket" && e.Header.EventType != "app_ticket" {
		return a, nil
	}
	id := e.Event.AppID
	if id == "" {
		id = e.Header.AppID
	}
	switch {
	case !keys.isFor(id):
		return Answer{}, refused("it is meant for another app than that of the secret")
	case e.Event.AppTicket == "":
		return Answer{}, refused("the event has no ticket")
	}
	a.Field, a.Value, a.Life = realm.PushFormats[realm.PushFeishu], realm.Hidden(e.Event.AppTicket), feishuLife
	return a, nil
}
