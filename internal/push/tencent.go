package push

import (
	"crypto/sha1" // #nosec G505 -- the providers' signature
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ticket is what a format of Tencent brings.
type ticket struct {
	infoType, element string
	life              time.Duration
}

// tickets have the lives that the providers' pages tell (2026-11-30): 12 hours
// for WeChat (developers.weixin.qq.com, component_verify_ticket), and 30 minutes
// for WeCom (developer.work.weixin.qq.com, "推送suite_ticket").
var tickets = map[string]ticket{
	realm.PushWeChat: {"component_verify_ticket", "ComponentVerifyTicket", 12 * time.Hour},
	realm.PushWeCom:  {"suite_ticket", "SuiteTicket", 30 * time.Minute},
}

// readTencent reads the envelope that WeChat and WeCom have in common. Events
// that bring no ticket (authorized, unauthorized, ...) are none of ours, and the
// provider would repeat them if they were refused.
func readTencent(format string, keys Keys, r Request) (Answer, error) {
	if r.Method == http.MethodGet && format == realm.PushWeCom { // it verifies the URL
		echo, err := open(keys, r, r.Query.Get("echostr"))
		if err != nil {
			return Answer{}, err
		}
		return text(string(echo)), nil
	}
	if r.Method != http.MethodPost {
		return Answer{}, refused("the method is not POST")
	}
	envelope, err := parseXML(r.Body)
	if err != nil {
		return Answer{}, err
	}
	message, err := open(keys, r, envelope["Encrypt"])
	if err != nil {
		return Answer{}, err
	}
	event, err := parseXML(message)
	if err != nil {
		return Answer{}, err
	}
	a, t := text("success"), tickets[format]
	if strings.TrimSpace(event["InfoType"]) != t.infoType {
		return a, nil
	}
	value := strings.TrimSpace(event[t.element])
	if value == "" {
		return Answer{}, refused("the event has no ticket")
	}
	a.Field, a.Value, a.Life = realm.PushFormats[format], realm.Hidden(value), t.life
	return a, nil
}

func text(s string) Answer { return Answer{ContentType: "text/plain; charset=utf-8", Body: []byte(s)} }

// open verifies what is encrypted in a request, and decrypts it: 16 random bytes,
// the length of the message in 4, the message, and whom it is meant for.
func open(keys Keys, r Request, encrypted string) ([]byte, error) {
	timestamp, nonce := r.Query.Get("timestamp"), r.Query.Get("nonce")
	parts := []string{keys.Token.Reveal(), timestamp, nonce, encrypted}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) // #nosec G401 -- the providers' signature
	switch {
	case !isEqual(hex.EncodeToString(sum[:]), r.Query.Get("msg_signature")):
		return nil, refused("the signature is wrong: is push_token the token of the provider's console?")
	case !isFresh(timestamp, r.Now):
		return nil, refused("the timestamp is more than 10 minutes from now")
	}
	// The key is the base64 of 32 bytes without its sign at the end.
	key, err := base64.StdEncoding.DecodeString(keys.AESKey.Reveal() + "=")
	if err != nil || len(key) != keySize {
		return nil, refused("the field push_aes_key is not the 43 characters of an EncodingAESKey")
	}
	cipherText, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil {
		return nil, refused("what is encrypted is no base64")
	}
	// Their padding goes up to 32 bytes, whatever the block of AES has.
	plain, ok := decrypt(key, key[:blockSize], cipherText, 32)
	const head = 16 + 4
	if !ok || len(plain) < head {
		return nil, refused("it cannot be decrypted: is push_aes_key the EncodingAESKey of the provider's console?")
	}
	length, rest := binary.BigEndian.Uint32(plain[16:head]), plain[head:]
	if uint64(length) > uint64(len(rest)) {
		return nil, refused("the length of the message is wrong")
	}
	if !keys.isFor(string(rest[length:])) {
		return nil, refused("it is meant for another app than that of the secret")
	}
	return rest[:length], nil
}
