package grant

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestSharedFieldsStayWithTheirHosts: a secret of the API pulled a shared field
// of the configuration file to a host of its own. Each way that leads from a
// field to a host is a line.
func TestSharedFieldsStayWithTheirHosts(t *testing.T) {
	const (
		shared = `"shared":{"id":"I","key":"K","host":"own.example"}`
		fetch  = `"url":"https://x.example/t?k={secret.key}","token_path":"t"`
		plain  = `"url":"https://x.example/t?k={secret.mine}","token_path":"t"`
		away   = `"https://{secret.host}/t"`
		code   = `"grant":{"name":"authorization_code","client_id":"{secret.id}","client_secret":"{secret.key}",`
	)
	for name, c := range map[string]struct {
		config  string
		refused bool
	}{
		"query":                    {`"url":"https://{secret.host}/t?k={secret.key}","token_path":"t"`, true},
		"header":                   {`"url":` + away + `,"token_path":"t","arguments":[{"name":"a","place":"header","value":"{secret.key}"}]`, true},
		"user":                     {`"url":` + away + `,"token_path":"t","arguments":[{"name":"{secret.key}","place":"basic","value":"x"}]`, true},
		"body":                     {`"url":` + away + `,"method":"POST","token_path":"t","arguments":[{"name":"a","place":"body","value":"{secret.key}"}]`, true},
		"expression":               {`"url":` + away + `,"token_path":"t","arguments":[{"name":"a","place":"url","expr":"sha256(secret.key)"}]`, true},
		"path":                     {`"url":"https://{secret.host}/{a}","token_path":"t","arguments":[{"name":"a","place":"path","value":"{secret.key}"}]`, true},
		"a label of the host":      {`"url":"https://{secret.key}.{secret.host}/","token_path":"t"`, true},
		"a port":                   {`"url":"https://x.example:{secret.host}/?k={secret.key}","token_path":"t"`, true},
		"client credentials":       {`"grant":{"name":"client_credentials","token_url":` + away + `,"client_id":"{secret.id}","client_secret":"{secret.key}"}`, true},
		"refresh token":            {`"grant":{"name":"refresh_token","token_url":` + away + `,"client_id":"{secret.id}","client_secret":"{secret.key}"}`, true},
		"refresh":                  {plain + `,"refresh":{"url":"https://{secret.host}/r?r={refresh_token}&k={secret.key}"}`, true},
		"delegate":                 {`"grant":{"name":"delegate","token_url":` + away + `},"arguments":[{"name":"X","place":"header","value":"{secret.key}"}]`, true},
		"authorize":                {code + `"authorize_url":` + away + `,"token_url":"https://x.example"},"callback_url":"https://y.example"`, true},
		"exchange":                 {code + `"authorize_url":"https://x.example","token_url":` + away + `},"callback_url":"https://y.example"`, true},
		"callback":                 {`"authorize":{"url":"https://x.example/?s={state}"},"exchange":{"url":"https://x.example/?c={code}","token_path":"t"},"callback_url":"https://{secret.host}/{secret.key}"`, true},
		"callback in a request":    {`"authorize":{"url":"https://{secret.host}/?s={state}&u={callback_url}"},"exchange":{"url":"https://x.example/?c={code}","token_path":"t"},"callback_url":"https://y.example/{secret.key}"`, true},
		"fixed token":              {`"grant":{"name":"static","token":"{secret.key}"},"api":"https://{secret.host}"`, true},
		"injected":                 {plain + `,"api":"https://{secret.host}","inject":[{"place":"header","name":"A","value":"{token}"},{"place":"header","name":"B","value":"{secret.key}"}]`, true},
		"injected user":            {plain + `,"api":"https://{secret.host}","inject":[{"place":"basic","name":"{secret.key}"}]`, true},
		"token":                    {fetch + `,"api":"https://{secret.host}"`, true},
		"token and hosts":          {fetch + `,"api":"https://a.example","hosts":["a.example","{secret.host}"]`, true},
		"path of the API":          {plain + `,"api":"https://{secret.host}/{secret.key}"`, true},
		"no shared field":          {`"url":` + away + `,"token_path":"t","arguments":[{"name":"a","place":"url","value":"{secret.mine}"}]`, false},
		"no host":                  {fetch + `,"api":"https://a.example/{secret.host}"`, false},
		"a host that is not named": {fetch + `,"api":"https://a.example","arguments":[{"name":"a","place":"url","value":"{secret.host}"}]`, false},
		"path of the callback":     {`"authorize":{"url":"https://x.example/?s={state}&k={secret.key}"},"exchange":{"url":"https://x.example/?c={code}","token_path":"t"},"callback_url":"https://y.example/{secret.host}"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(realmOf(t, `{`+c.config+`,`+shared+`}`, ""), true)
			if err != nil {
				t.Fatal(err)
			}
			s := secretOf(map[string]string{"host": "8443", "mine": "M"})
			_, err = p.Bind(s)
			var field *realm.FieldError
			if refused := errors.As(err, &field) && field.Field == "host" && strings.Contains(field.Reason, "shared fields"); refused != c.refused || !c.refused && err != nil {
				t.Errorf("Bind: %v", err)
			}
			if saved := p.CheckSecret(s); errors.As(saved, &field) && strings.HasPrefix(field.Field, "fields.host") != c.refused || (saved != nil) != c.refused {
				t.Errorf("CheckSecret: %v", saved)
			}
			s.Defined = true
			if _, err := p.Bind(s); err != nil {
				t.Errorf("a secret of the file: %v", err)
			}
			s = secretOf(map[string]string{"host": "8443", "mine": "M", "key": "own", "id": "own"})
			if _, err := p.Bind(s); err != nil {
				t.Errorf("a secret with fields of its own: %v", err)
			}
			s = secretOf(map[string]string{"mine": "M"})
			if _, err := p.Bind(s); err != nil && name != "a port" {
				t.Errorf("the hosts of the file: %v", err)
			}
		})
	}
}
