package fakeprovider

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" // #nosec G505 -- the providers' signature
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SetTicket gives an app another ticket. From now on only a token request that
// sends this one is granted.
func (p *Provider) SetTicket(id, ticket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tickets[id] = ticket
}

// ticketArgument is where an ask keeps the ticket, whatever its provider calls it.
const ticketArgument = "ticket"

// askTicket reads a POST of an app that sends the ticket that was pushed to it.
func askTicket(id, secret, ticket string) func(*http.Request) (ask, Refusal) {
	return func(r *http.Request) (ask, Refusal) {
		a, body, refusal := askObject(r, id)
		if refusal != "" {
			return a, refusal
		}
		a.secret = textOf(body, secret)
		a.args = url.Values{ticketArgument: {textOf(body, ticket)}}
		return a, a.incomplete()
	}
}

// askObject reads a POST with a JSON object that has an app's id.
func askObject(r *http.Request, id string) (ask, map[string]any, Refusal) {
	if r.Method != http.MethodPost {
		return ask{}, nil, NeedsPOST
	}
	body, ok := jsonBody(r)
	if !ok {
		return ask{}, nil, BadBody
	}
	a := ask{ref: textOf(body, id)}
	if a.ref == "" {
		return a, nil, MissingApp
	}
	return a, body, ""
}

func textOf(body map[string]any, name string) string {
	text, _ := body[name].(string) // a number is none
	return text
}

// checkTicket refuses any ticket but the newest. The caller holds the lock.
func checkTicket(p *Provider, a ask, _ time.Time) Refusal {
	if ticket := a.args.Get(ticketArgument); ticket == "" || ticket != p.tickets[a.ref] {
		return BadTicket
	}
	return ""
}

// Push is a request by which a provider brings something to an app.
type Push struct {
	// Query stands behind the path, with its question mark; "" for none.
	Query  string
	Header http.Header
	Body   string
	// Encrypted is the message alone, as it stands in Body. WeCom verifies an address
	// with one that stands in the query, as echostr.
	Encrypted string
}

// PushKeys are what an app and its provider agreed on for pushes.
type PushKeys struct{ Token, AESKey string }

// Tencent is a message for an app, encrypted and signed as WeChat and WeCom do.
func (k PushKeys) Tencent(receiver, message string) Push {
	key, _ := base64.StdEncoding.DecodeString(k.AESKey + "=")                                // of 43 characters
	plain := binary.BigEndian.AppendUint32([]byte("0123456789abcdef"), uint32(len(message))) // #nosec G115 -- short
	plain = append(append(plain, message...), receiver...)
	encrypted := base64.StdEncoding.EncodeToString(sealCBC(key, key[:16], plain, 32))
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	parts := []string{k.Token, timestamp, "nonce", encrypted}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) // #nosec G401 -- the providers' signature
	q := url.Values{"timestamp": {timestamp}, "nonce": {"nonce"}, "msg_signature": {hex.EncodeToString(sum[:])}, "encrypt_type": {"aes"}}
	return Push{Query: "?" + q.Encode(), Body: "<xml><Encrypt><![CDATA[" + encrypted + "]]></Encrypt></xml>", Encrypted: encrypted}
}

// Feishu is an event, encrypted and signed as Feishu does.
func (k PushKeys) Feishu(event string) Push {
	key, iv := sha256.Sum256([]byte(k.AESKey)), make([]byte, aes.BlockSize)
	_, _ = rand.Read(iv) // it never fails
	sealed := append(slices.Clone(iv), sealCBC(key[:], iv, []byte(event), 16)...)
	encrypted := base64.StdEncoding.EncodeToString(sealed)
	body, _ := json.Marshal(map[string]string{"encrypt": encrypted}) // it is text
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	sum := sha256.Sum256([]byte(timestamp + "nonce" + k.AESKey + string(body)))
	h := http.Header{}
	h.Set("X-Lark-Request-Timestamp", timestamp)
	h.Set("X-Lark-Request-Nonce", "nonce")
	h.Set("X-Lark-Signature", hex.EncodeToString(sum[:]))
	return Push{Header: h, Body: string(body), Encrypted: encrypted}
}

// sealCBC encrypts with the padding of PKCS #7, to a multiple of block.
func sealCBC(key, iv, plain []byte, block int) []byte {
	padding := block - len(plain)%block
	plain = append(slices.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...)
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(plain, plain)
	return plain
}
