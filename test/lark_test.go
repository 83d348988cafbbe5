package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	lark "github.com/larksuite/oapi-sdk-go/v3"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	larkcontact "github.com/larksuite/oapi-sdk-go/v3/service/contact/v3"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// image is what the SDK uploads: bytes of every kind.
var image = func() []byte {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}()

// feishuAPI is a part of Feishu's API, with the answers of its documentation
// (open.feishu.cn: im-v1/message/create, im-v1/image/create,
// contact-v3/user/list).
func feishuAPI(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /open-apis/im/v1/messages", func(w http.ResponseWriter, r *http.Request) {
		var message map[string]string
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			t.Error(err)
		}
		if r.URL.RawQuery != "receive_id_type=open_id" {
			t.Errorf("the query changed: %s", r.URL.RawQuery)
		}
		writeJSON(w, map[string]any{"code": 0, "msg": "success", "data": map[string]any{
			"message_id": "om_1", "msg_type": message["msg_type"], "body": map[string]any{"content": message["content"]},
		}})
	})
	mux.HandleFunc("POST /open-apis/im/v1/images", func(w http.ResponseWriter, r *http.Request) {
		file, _, err := r.FormFile("image")
		if err != nil {
			t.Error(err)
			return
		}
		got, err := io.ReadAll(file)
		if err != nil || !bytes.Equal(got, image) || r.FormValue("image_type") != "message" {
			t.Errorf("the upload changed: %d bytes, %v", len(got), err)
		}
		writeJSON(w, map[string]any{"code": 0, "msg": "success", "data": map[string]any{"image_key": "img_1"}})
	})
	mux.HandleFunc("GET /open-apis/contact/v3/users", func(w http.ResponseWriter, r *http.Request) {
		page := map[string]any{"has_more": true, "page_token": "p+2/=", "items": []any{map[string]any{"user_id": "u1", "name": "张三"}}}
		if r.URL.Query().Get("page_token") == "p+2/=" {
			page = map[string]any{"has_more": false, "items": []any{map[string]any{"user_id": "u2", "name": "李四"}}}
		}
		writeJSON(w, map[string]any{"code": 0, "msg": "success", "data": page})
	})
	return mux
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(body) // maps of strings and numbers
}

// larkBench is Feishu's SDK, pointed at a node.
type larkBench struct {
	provider *fakeprovider.Provider
	client   *lark.Client
}

// newLark points the SDK at the proxy by its base URL. The token cache is off,
// or the SDK would fetch a token by itself; id and secret are placeholders,
// because the SDK insists on some.
func newLark(t *testing.T) larkBench {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.Feishu, Credentials: map[string]string{"cli_a1": "app-secret-0001"}, API: feishuAPI(t),
	})
	api := p.Start(t)
	n := launch(t, config{
		tokens: fmt.Sprintf(`realm feishu {
	api %[1]s
	allow_http on
	fetch POST %[1]s/open-apis/auth/v3/tenant_access_token/internal {
		json app_id {secret.app_id}
		json app_secret {secret.app_secret}
	}
	token_path tenant_access_token
	expires_in_path expire
	success json code 0
	inject header Authorization "Bearer {token}"
	secret main {
		app_id cli_a1
		app_secret app-secret-0001
	}
}`, api),
		proxy: tokenProxy("/feishu", "feishu"),
	}.caddyfile)
	n.keepsSecret(p, "app-secret-0001")
	return larkBench{p, lark.NewClient("placeholder", "placeholder",
		lark.WithOpenBaseUrl(n.proxy+"/feishu"), lark.WithEnableTokenCache(false))}
}

func (b larkBench) wantOneFetch(t *testing.T, calls int) {
	t.Helper()
	if b.provider.Fetches() != 1 || b.provider.Calls() != calls || len(b.provider.DeadCalls()) != 0 {
		t.Errorf("ledger: %d fetches, %d calls (want %d), dead calls %+v",
			b.provider.Fetches(), b.provider.Calls(), calls, b.provider.DeadCalls())
	}
}

func TestLarkSDKSendsAMessage(t *testing.T) {
	b := newLark(t)
	content := larkim.NewTextMsgBuilder().TextLine("你好, <b>&\"tokens\"").Build()
	req := larkim.NewCreateMessageReqBuilder().ReceiveIdType("open_id").
		Body(larkim.NewCreateMessageReqBodyBuilder().ReceiveId("ou_1").MsgType("text").Content(content).Build()).Build()
	// A token of the app's own is replaced by the realm's.
	for name, options := range map[string][]larkcore.RequestOptionFunc{
		"no token":    nil,
		"stale token": {larkcore.WithTenantAccessToken("t-stale")},
	} {
		resp, err := b.client.Im.Message.Create(within(t), req, options...)
		if err != nil || !resp.Success() {
			t.Fatalf("%s: %v %v", name, err, resp)
		}
		if *resp.Data.MessageId != "om_1" || *resp.Data.Body.Content != content {
			t.Errorf("%s: got %s", name, larkcore.Prettify(resp.Data))
		}
	}
	b.wantOneFetch(t, 2)
}

func TestLarkSDKUploadsAndPages(t *testing.T) {
	b := newLark(t)
	up, err := b.client.Im.Image.Create(within(t), larkim.NewCreateImageReqBuilder().
		Body(larkim.NewCreateImageReqBodyBuilder().ImageType("message").Image(bytes.NewReader(image)).Build()).Build())
	if err != nil || !up.Success() || *up.Data.ImageKey != "img_1" {
		t.Fatalf("upload: %v %v", err, up)
	}
	pages, err := b.client.Contact.User.ListByIterator(within(t), larkcontact.NewListUserReqBuilder().PageSize(1).Limit(10).Build())
	if err != nil {
		t.Fatal(err)
	}
	var people []string
	for more := true; more; {
		var user *larkcontact.User
		if more, user, err = pages.Next(); err != nil {
			t.Fatal(err)
		}
		if more {
			people = append(people, *user.Name)
		}
	}
	if fmt.Sprint(people) != "[张三 李四]" {
		t.Errorf("got %v", people)
	}
	b.wantOneFetch(t, 3)
}

// The provider's own refusal reaches the SDK as it is.
func TestLarkSDKSeesTheProvidersRefusal(t *testing.T) {
	b := newLark(t)
	b.provider.Set(fakeprovider.Faults{RefuseTokens: true})
	resp, err := b.client.Contact.User.List(within(t), larkcontact.NewListUserReqBuilder().Build())
	if err != nil {
		t.Fatal(err)
	}
	if resp.Code != 99991663 || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("got HTTP %d %s", resp.StatusCode, resp.RawBody)
	}
}
