package test

// wechatRealm is a realm of the earlier service's form on a simulated WeChat,
// with what the gateway needs beside it.
func wechatRealm(id, base string) map[string]any {
	argument := func(name, value string) map[string]any {
		return map[string]any{"name": name, "place": "url", "value": value}
	}
	return map[string]any{"id": id, "config": map[string]any{
		"api": base, "allow_http": true,
		"url": base + "/cgi-bin/token", "method": "GET",
		"arguments": []any{
			argument("grant_type", "client_credential"), argument("appid", "$key_1"), argument("secret", "$key_2"),
		},
		"token_path": "access_token", "expires_in_path": "expires_in", "content_type": "json",
		"inject": []any{map[string]any{"place": "url", "name": "access_token"}},
	}}
}
