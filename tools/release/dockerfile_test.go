package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// instruction is one of a Dockerfile, its lines joined.
type instruction struct{ word, rest string }

// dockerfile reads deploy/Dockerfile.
func dockerfile(t *testing.T) (instructions []instruction) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var whole string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		part, goesOn := strings.CutSuffix(line, "\\")
		if whole += part; goesOn {
			continue
		}
		word, rest, _ := strings.Cut(whole, " ")
		instructions = append(instructions, instruction{word, rest})
		whole = ""
	}
	return instructions
}

// TestDockerfile replays deploy/Dockerfile on this machine: its RUN lines by its
// shell, with this checkout in the place of a published version, and its COPY lines
// into a root directory. The FROM lines are not run: the Go and the certificates
// are those of this machine. What comes out starts as the image of the release does.
func TestDockerfile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("files of an image belong to root: please run this test as root, or by sudo")
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	caddy, err := exec.Command("go", "-C", checkout, "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	build, root := t.TempDir(), t.TempDir()
	environment := append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY="+proxyOfCheckout(t))
	var stages []string
	var config v1.Config
	for _, i := range dockerfile(t) {
		switch {
		case i.word == "FROM":
			stages = append(stages, i.rest)
		case len(stages) == 1:
			switch i.word {
			case "ARG":
				if i.rest != "VERSION=latest" && i.rest != "CADDY_VERSION="+strings.TrimSpace(string(caddy)) {
					t.Errorf("ARG %s; go.mod has Caddy %s", i.rest, caddy)
				}
				environment = append(environment, i.rest)
			case "WORKDIR":
				if i.rest != "/build" {
					t.Errorf("WORKDIR %s", i.rest)
				}
			case "RUN":
				cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(i.rest, "caddy-tokens@$VERSION", "caddy-tokens="+checkout))
				cmd.Dir, cmd.Env = build, environment
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("RUN %s: %v\n%s", i.rest, err, out)
				}
			default:
				t.Fatalf("nobody replays %s %s", i.word, i.rest)
			}
		case i.word == "COPY":
			copyStep(t, strings.Fields(i.rest), build, root)
		default:
			configure(t, &config, i)
		}
	}
	if !slices.Equal(stages, []string{"golang:1.26 AS builder", "scratch"}) {
		t.Errorf("the stages are %q", stages)
	}

	want := built.imageConfig()
	want.Labels = nil
	if got, _ := json.Marshal(config); !bytes.Equal(got, mustJSON(t, want)) {
		t.Errorf("it starts otherwise than the image of the release:\n%s\n%s", got, mustJSON(t, want))
	}
	program := filepath.Join(root, "usr/bin/caddy")
	if err := inspect(program, linuxHere()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(program); err != nil || !bytes.Contains(text, []byte("Antarctica/Troll")) {
		t.Errorf("the program has no time zones (%v)", err)
	}
	for name, mode := range map[string]os.FileMode{"data": os.ModeDir | 0o700, "tmp": os.ModeDir | os.ModeSticky | 0o777, "etc/ssl/certs/ca-certificates.crt": 0o644, "etc/passwd": 0o644} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	c := &container{t: t, root: root, config: config}
	if out := c.exec("", "caddy", "list-modules"); !strings.Contains(out, "http.handlers.token_gateway\n") {
		t.Errorf("the program lacks the plugin:\n%s", out)
	}
	c.startOnTakenPorts()
}

// proxyOfCheckout is a list of module proxies of which the first one knows a version
// of this module: go get asks for one, although xcaddy replaces it by the checkout.
func proxyOfCheckout(t *testing.T) string {
	t.Helper()
	usual, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	versions := filepath.Join(dir, "github.com/caddy-tokens/caddy-tokens/@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"list": "v0.0.1\n", "v0.0.1.info": `{"Version": "v0.0.1"}`} {
		if err := os.WriteFile(filepath.Join(versions, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir + "," + strings.TrimSpace(string(usual))
}

// copyStep copies what a stage has made: COPY --from=builder [--chown=] /build/x/ /
func copyStep(t *testing.T, words []string, build, root string) {
	t.Helper()
	owner := "0:0"
	var paths []string
	for _, word := range words {
		if value, ok := strings.CutPrefix(word, "--chown="); ok {
			owner = value
		} else if word != "--from=builder" {
			paths = append(paths, word)
		}
	}
	source, ok := strings.CutPrefix(paths[0], "/build/")
	if !ok || len(paths) != 2 || paths[1] != "/" {
		t.Fatalf("COPY %q", words)
	}
	source = filepath.Join(build, source)
	for _, command := range [][]string{{"chown", "-R", owner, source}, {"cp", "-a", source + "/.", root}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	// The root itself belongs to root, whatever was copied into it.
	if err := os.Chown(root, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// configure takes over what an instruction says of the start.
func configure(t *testing.T, config *v1.Config, i instruction) {
	t.Helper()
	list := func(text string) (words []string) {
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			t.Fatalf("%s %s: %v", i.word, i.rest, err)
		}
		return words
	}
	switch i.word {
	case "ENV":
		config.Env = strings.Fields(i.rest)
	case "USER":
		config.User = i.rest
	case "WORKDIR":
		config.WorkingDir = i.rest
	case "EXPOSE":
		config.ExposedPorts = map[string]struct{}{}
		for port := range strings.FieldsSeq(i.rest) {
			config.ExposedPorts[port+"/tcp"] = struct{}{}
		}
	case "ENTRYPOINT":
		config.Entrypoint = list(i.rest)
	case "CMD":
		config.Cmd = list(i.rest)
	case "HEALTHCHECK":
		options, command, _ := strings.Cut(i.rest, " CMD ")
		config.Healthcheck = &v1.HealthConfig{Test: append([]string{"CMD"}, list(command)...), Retries: 3}
		durations := map[string]*time.Duration{
			"--interval": &config.Healthcheck.Interval, "--timeout": &config.Healthcheck.Timeout, "--start-period": &config.Healthcheck.StartPeriod,
		}
		for option := range strings.FieldsSeq(options) {
			name, value, _ := strings.Cut(option, "=")
			if name == "--retries" && value == "3" {
				continue
			}
			var err error
			if durations[name] == nil {
				t.Fatalf("the option %s is none of %v", name, slices.Sorted(maps.Keys(durations)))
			}
			if *durations[name], err = time.ParseDuration(value); err != nil {
				t.Fatal(err)
			}
		}
	default:
		t.Fatalf("nobody replays %s %s", i.word, i.rest)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
