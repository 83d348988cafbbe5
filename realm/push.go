package realm

// The formats of Config.Push.
const (
	PushWeChat = "wechat"
	PushWeCom  = "wecom"
	PushFeishu = "feishu"
)

// PushFormats are the formats, each with the field of the secret that it brings.
var PushFormats = map[string]string{
	PushWeChat: "component_verify_ticket",
	PushWeCom:  "suite_ticket",
	PushFeishu: "app_ticket",
}

// What a secret has so that what is pushed proves itself: the token that signs, and
// the key that decrypts.
const (
	PushTokenField  = "push_token"
	PushAESKeyField = "push_aes_key"
)

// ReceiverFields are the fields of a secret that name the app a push is meant for.
// WeCom names the suite in its events, and the corporation in the request that
// verifies the URL.
var ReceiverFields = map[string][]string{
	PushWeChat: {"component_appid", "appid"},
	PushWeCom:  {"suite_id", "corpid"},
	PushFeishu: {"app_id"},
}

// PushFields are the fields of a secret that what is pushed in the realm's format
// reads; none without a format.
func (c *Config) PushFields() []string {
	if c.Push == "" {
		return nil
	}
	return append([]string{PushTokenField, PushAESKeyField}, ReceiverFields[c.Push]...)
}

// validatePush checks the format; whether its field is volatile is known when the
// realm is compiled.
func (c *Config) validatePush() error {
	if _, ok := PushFormats[c.Push]; !ok && c.Push != "" {
		return Fieldf("config.push", "must be wechat, wecom or feishu")
	}
	return nil
}
