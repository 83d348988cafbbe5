package sdks

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	notes      = "what is new"
	largeNotes = 40_000 // lines
)

// githubRoutes are parts of api.github.com and uploads.github.com
// (docs.github.com/rest: apps, repos/get, issues/list, releases/upload-asset). The
// repository has another name since; asked by the old one, GitHub redirects.
func githubRoutes(p *providers) map[string]http.HandlerFunc {
	self := func(r *http.Request) string { return "http://" + r.Host }
	issues := func(w http.ResponseWriter, r *http.Request) {
		n := "1"
		if r.URL.Query().Get("page") == "2" {
			n = "2"
		} else {
			w.Header().Set("Link", fmt.Sprintf(`<%s/repositories/1/issues?page=2>; rel="next", <%[1]s/repositories/1/issues?page=2>; rel="last"`, self(r)))
		}
		answer(w, []any{object{"number": 1, "title": "issue " + n}})
	}
	return map[string]http.HandlerFunc{
		"POST /app/installations/4711/access_tokens": func(w http.ResponseWriter, _ *http.Request) {
			answerWith(w, http.StatusCreated, object{"token": githubToken, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
		},
		"GET /repos/octo/hello": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", self(r)+"/repositories/1")
			answerWith(w, http.StatusMovedPermanently, object{"message": "Moved Permanently"})
		},
		"GET /repositories/1": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, object{"full_name": "octo/hello"})
		},
		"GET /repos/octo/hello/issues": issues,
		"GET /repositories/1/issues":   issues,
		"POST /repos/octo/hello/releases/1/assets": func(w http.ResponseWriter, r *http.Request) {
			p.wantBody(r, notes)
			if name := r.URL.Query().Get("name"); name != "notes.txt" {
				p.complain("the name of the asset is %q", name)
			}
			answerWith(w, http.StatusCreated, object{"id": 7, "state": "uploaded"})
		},
	}
}

// googleRoutes are parts of oauth2.googleapis.com and of Drive
// (developers.google.com/workspace/drive/api/guides/manage-uploads).
func googleRoutes(p *providers) map[string]http.HandlerFunc {
	large := strings.Repeat(notes+"\n", largeNotes)
	var got strings.Builder
	part := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(&got, r.Body); err != nil {
			p.complain("a part: %v", err)
		}
		if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") {
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", got.Len()-1))
			if r.Header.Get("X-Guploader-No-308") != "yes" {
				p.complain("the upload in parts would be redirected")
			}
			w.Header().Set("X-Http-Status-Code-Override", "308")
			return
		}
		if got.String() != large {
			p.complain("the upload in parts has %d bytes, want %d", got.Len(), len(large))
		}
		got.Reset()
		answer(w, object{"id": "file-1"})
	}
	return map[string]http.HandlerFunc{
		"POST /token": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, object{"access_token": googleToken, "expires_in": 3599, "token_type": "Bearer"})
		},
		"GET /drive/v3/files": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, object{"files": []any{object{"name": "plan"}, object{"name": "budget"}}})
		},
		"POST /upload/drive/v3/files": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("uploadType") == "resumable" {
				if r.URL.Query().Has("upload_id") {
					part(w, r)
					return
				}
				w.Header().Set("Location", "http://"+r.Host+"/upload/drive/v3/files?uploadType=resumable&upload_id=1")
				w.WriteHeader(http.StatusOK)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || r.URL.Query().Get("uploadType") != "multipart" || !strings.Contains(string(body), notes) {
				p.complain("the upload is not what was sent: %s %v", body, err)
			}
			answer(w, object{"id": "file-1"})
		},
		"PUT /upload/drive/v3/files": part,
	}
}

// stripeRoutes are parts of api.stripe.com (docs.stripe.com/api: pagination,
// customers/list, payment_intents/create).
func stripeRoutes(p *providers) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /v1/customers": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("starting_after") == "cus_1" {
				answer(w, object{"object": "list", "has_more": false, "url": "/v1/customers", "data": []any{object{"id": "cus_2", "name": "Ben"}}})
				return
			}
			answer(w, object{"object": "list", "has_more": true, "url": "/v1/customers", "data": []any{object{"id": "cus_1", "name": "Ann"}}})
		},
		"POST /v1/payment_intents": func(w http.ResponseWriter, r *http.Request) {
			p.wantBody(r, "amount=500&currency=eur")
			if r.Header.Get("Idempotency-Key") == "" {
				p.complain("the key against doing it twice is lost")
			}
			answer(w, object{"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method"})
		},
	}
}

// openaiRoutes are parts of api.openai.com
// (platform.openai.com/docs/api-reference: chat/streaming, files/create).
func openaiRoutes(p *providers) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /v1/chat/completions": func(w http.ResponseWriter, _ *http.Request) {
			const chunk = `data: {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": %q}}]}`
			events(w, fmt.Sprintf(chunk, "Hel"), fmt.Sprintf(chunk, "lo."), "data: [DONE]")
		},
		"POST /v1/files": func(w http.ResponseWriter, r *http.Request) {
			file, _, err := r.FormFile("file")
			if err != nil {
				p.complain("the upload: %v", err)
				return
			}
			if got, err := io.ReadAll(file); err != nil || string(got) != notes || r.FormValue("purpose") != "user_data" {
				p.complain("the upload is not what was sent: %q %v", got, err)
			}
			answer(w, object{"id": "file-1", "object": "file"})
		},
	}
}

// anthropicRoutes are a part of api.anthropic.com
// (docs.anthropic.com/en/api: versioning, messages-streaming).
func anthropicRoutes(p *providers) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /v1/messages": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Anthropic-Version") == "" {
				p.complain("anthropic-version is lost")
			}
			events(w,
				`event: message_start`+"\n"+`data: {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "claude", "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 1}}}`,
				`event: content_block_start`+"\n"+`data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}`,
				`event: content_block_delta`+"\n"+`data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}}`,
				`event: content_block_stop`+"\n"+`data: {"type": "content_block_stop", "index": 0}`,
				`event: message_delta`+"\n"+`data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}`,
				`event: message_stop`+"\n"+`data: {"type": "message_stop"}`)
		},
	}
}

// feishuRoutes are parts of open.feishu.cn (authentication-management/
// access-token/tenant_access_token_internal, im-v1/message/create).
func feishuRoutes(p *providers) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /open-apis/auth/v3/tenant_access_token/internal": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || !strings.Contains(string(body), "cli_1") || !strings.Contains(string(body), "feishu-secret") {
				p.complain("Feishu gives no token for a wrong app_id or app_secret")
				answer(w, object{"code": 10003, "msg": "invalid param"})
				return
			}
			answer(w, object{"code": 0, "msg": "ok", "tenant_access_token": feishuToken, "expire": 7200})
		},
		"POST /open-apis/im/v1/messages": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "receive_id_type=open_id" {
				p.complain("the query changed: %s", r.URL.RawQuery)
			}
			answer(w, object{"code": 0, "msg": "success", "data": object{"message_id": "om_1"}})
		},
	}
}

// wechatRoutes are parts of api.weixin.qq.com
// (developers.weixin.qq.com/doc/offiaccount: getStableAccessToken,
// Get_users_basic_information_UnionID, New_temporary_materials).
func wechatRoutes(p *providers) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /cgi-bin/stable_token": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || !strings.Contains(string(body), `"wx-secret"`) {
				p.complain("WeChat gives no token for a wrong secret")
			}
			answer(w, object{"access_token": wechatToken, "expires_in": 7200})
		},
		"GET /cgi-bin/user/info": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, object{"openid": "o1", "remark": "a friend"})
		},
		"POST /cgi-bin/media/upload": func(w http.ResponseWriter, r *http.Request) {
			file, _, err := r.FormFile("media")
			if err != nil {
				p.complain("the upload: %v", err)
				return
			}
			if got, err := io.ReadAll(file); err != nil || string(got) != notes || r.URL.Query().Get("type") != "image" {
				p.complain("the upload is not what was sent: %q %v", got, err)
			}
			answer(w, object{"media_id": "media-1", "type": "image"})
		},
	}
}
