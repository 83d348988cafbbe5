package realm

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The values that may never be seen. Printing could also show them in hex or
// as numbers.
const canary = "CANARY7f3k9"

var canaryForms = []string{
	canary,
	fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary),
	strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"),
	strings.Trim(fmt.Sprintf("%v", canaryFingerprint), "[]"), fmt.Sprintf("%x", canaryFingerprint[:]),
}

var canaryFingerprint = [16]byte([]byte("CANARYCANARY7f3k"))

func wantNoCanary(t *testing.T, how, out string) {
	t.Helper()
	for _, form := range canaryForms {
		if strings.Contains(out, form) {
			t.Errorf("%s shows the value: %s", how, out)
			return
		}
	}
}

// confidential are values of every type that holds something confidential.
func confidential() map[string]any {
	secret := Secret{Ref: Ref{"wechat", "main"}, Fields: map[string]Hidden{"appid": canary}}
	kept := KeptOf(map[string]string{"answer.x": canary})
	token := Token{Access: canary, Refresh: canary, Fingerprint: canaryFingerprint, Lineage: 3, Kept: kept}
	target := Target{
		API:   &url.URL{Scheme: "https", Host: "api.telegram.org", Path: "/bot" + canary},
		Hosts: []HostPattern{{host: "api.telegram.org"}},
		Kept:  kept,
	}
	lease := Lease{Access: canary, Values: []string{"Bearer " + canary}, Target: &target, Source: FromMemory}
	realm := Realm{ID: "jd", Config: Config{Shared: map[string]Hidden{"app_key": canary}}}
	return map[string]any{
		"kept": kept, "*kept": &kept,
		"hidden": Hidden(canary), "pointer": new(Hidden(canary)), "list": []Hidden{canary},
		"secret": secret, "*secret": &secret, "token": token, "*token": &token,
		"fingerprint": token.Fingerprint, "digest": Digest(canaryFingerprint), "target": target, "*target": &target,
		"lease": lease, "*lease": &lease, "realm": realm, "*realm": &realm,
		"nested": struct {
			L []*Lease
			T any
		}{[]*Lease{&lease}, lease},
	}
}

func TestNothingConfidentialIsPrinted(t *testing.T) {
	for name, v := range confidential() {
		for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "t", "T", "U", "c", "e", "b", "o", "z", "-50v", ".3s", "# x", "+q"} {
			wantNoCanary(t, name+" by %"+verb, fmt.Sprintf("%"+verb, v))
		}
		wantNoCanary(t, name+" by Sprint", fmt.Sprint(v))
		wantNoCanary(t, name+" in an error", fmt.Errorf("operation: %v", v).Error())
		wantNoCanary(t, name+" in a FieldError", Fieldf("config", "is wrong: %v", v).Error())
		wantNoCanary(t, name+" in an Error", (&Error{Code: CodeInternal, Err: fmt.Errorf("%v", v)}).Error())
		wantNoCanary(t, name+" in a panic", panicText(func() { panic(v) }))
	}
}

func panicText(f func()) (text string) {
	defer func() { text = fmt.Sprintf("%v %+v", recover(), errors.New("recovered")) }()
	f()
	return ""
}

func TestNothingConfidentialIsEncoded(t *testing.T) {
	for name, v := range confidential() {
		b, err := json.Marshal(v)
		wantNoCanary(t, name+" as JSON", fmt.Sprint(string(b), err))
		b, err = xml.Marshal(v)
		wantNoCanary(t, name+" as XML", fmt.Sprint(string(b), err))

		var out bytes.Buffer
		err = gob.NewEncoder(&out).Encode(v)
		if name != "fingerprint" { // digests are no values
			wantNoCanary(t, name+" as gob", fmt.Sprint(out.String(), err))
		}
		out.Reset()
		err = template.Must(template.New("").Parse(`{{.}} {{printf "%x" .}} {{html .}} {{js .}} {{urlquery .}}`)).Execute(&out, v)
		wantNoCanary(t, name+" in a template", fmt.Sprint(out.String(), err))
	}
}

func TestNothingConfidentialIsLogged(t *testing.T) {
	var out bytes.Buffer
	sink := zapcore.AddSync(&out)
	loggers := map[string]*zap.Logger{
		"json": zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), sink, zap.DebugLevel)),
		"text": zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), sink, zap.DebugLevel)),
	}
	for name, v := range confidential() {
		for form, log := range loggers {
			log.Info("x", zap.Any("any", v), zap.Reflect("reflect", v))
			log.Sugar().Infof("%v %+v", v, v)
			log.Sugar().Infow("x", "value", v)
			if s, ok := v.(fmt.Stringer); ok {
				log.Info("x", zap.Stringer("stringer", s))
			}
			if o, ok := v.(zapcore.ObjectMarshaler); ok {
				log.Info("x", zap.Object("object", o), zap.Inline(o))
			}
			wantNoCanary(t, name+" by zap as "+form, out.String())
			out.Reset()
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", v)
		wantNoCanary(t, name+" by slog", out.String())
		out.Reset()
	}
}

// A panic that nobody recovers is printed by the runtime, which does not use
// fmt.
func TestNothingConfidentialIsInACrash(t *testing.T) {
	if name := os.Getenv("REALM_TEST_PANIC"); name != "" {
		panic(confidential()[name])
	}
	for _, name := range []string{"hidden", "lease", "*lease", "secret", "token"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingConfidentialIsInACrash$")
		cmd.Env = append(os.Environ(), "REALM_TEST_PANIC="+name, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("panic: ")) {
			t.Fatalf("%s: no panic: %v\n%s", name, err, out)
		}
		wantNoCanary(t, name+" in a crash", string(out))
	}
}

func TestHiddenSaysOnlyWhetherItIsSet(t *testing.T) {
	if got := fmt.Sprintf("%s|%d|%#v|%v", Hidden("a"), Hidden("bb"), Hidden("ccc"), Hidden("")); got != Mask+"|"+Mask+"|"+Mask+"|" {
		t.Errorf("printed as %s", got)
	}
	b, err := json.Marshal([]Hidden{"x", ""})
	if want := `["` + Mask + `",""]`; err != nil || string(b) != want {
		t.Errorf("JSON is %s (%v), want %s", b, err, want)
	}
	if Hidden(canary).Reveal() != canary {
		t.Error("Reveal does not reveal")
	}
}

func TestLeaseAndTargetStillTellSomething(t *testing.T) {
	end := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	l := Lease{Access: "x", Source: FromRedis, Expires: InstantOf(end)}
	if want := "lease " + Mask + " from redis, until 2026-11-22T10:00:00Z"; l.String() != want {
		t.Errorf("%s, want %s", l, want)
	}
	if l.Expires = 0; !strings.HasSuffix(l.String(), "without an end") {
		t.Errorf("a fixed token prints as %s", l)
	}
	target := Target{Hosts: []HostPattern{pattern(t, "*.example.com:8443")}}
	if want := "hosts [*.example.com:8443]"; target.String() != want {
		t.Errorf("%s, want %s", target, want)
	}
}
