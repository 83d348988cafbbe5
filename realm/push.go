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

// validatePush checks the format; whether its field is volatile is known when the
// realm is compiled.
func (c *Config) validatePush() error {
	if _, ok := PushFormats[c.Push]; !ok && c.Push != "" {
		return Fieldf("config.push", "must be wechat, wecom or feishu")
	}
	return nil
}
