package caddymodule

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// describedMetrics are the names of all metrics that are registered, with their
// labels.
func describedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 100)
	for _, c := range collectors() {
		c.Describe(descs)
	}
	close(descs)
	described := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	names := map[string][]string{}
	for d := range descs {
		found := described.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("a description has another form: %s", d)
		}
		names[found[1]] = strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' })
	}
	return names
}

// metricUse finds a metric and what stands in the braces behind it.
var (
	metricUse = regexp.MustCompile(`(caddy_tokens_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`([a-z_]+)(?:=~|!=|=)"`)
	grouping  = regexp.MustCompile(`by \(([a-z, ]+)\)`)
)

// usedMetrics checks every metric and label of some expressions, and returns the
// names of the metrics. Prometheus itself adds instance and, to the buckets of a
// histogram, le.
func usedMetrics(t *testing.T, where string, expressions []string) []string {
	t.Helper()
	described := describedMetrics(t)
	var used []string
	for _, expression := range expressions {
		labels := []string{"instance", "le"}
		for _, use := range metricUse.FindAllStringSubmatch(expression, -1) {
			name := strings.TrimSuffix(use[1], "_bucket")
			own, ok := described[name]
			if !ok {
				t.Errorf("%s: there is no metric %s", where, use[1])
			}
			used, labels = append(used, name), append(labels, own...)
			for _, m := range matcher.FindAllStringSubmatch(use[2], -1) {
				if !slices.Contains(own, m[1]) {
					t.Errorf("%s: %s has no label %s", where, name, m[1])
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(expression, -1) {
			for label := range strings.SplitSeq(by[1], ", ") {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: nothing in %q has the label %s", where, expression, label)
				}
			}
		}
	}
	return used
}

// TestAlerts: the metrics and labels of the alerts exist, and the runbook has a
// section for each alert. What they fire for is tested by `make alerts`.
func TestAlerts(t *testing.T) {
	alerts, runbook := readText(t, "../deploy/prometheus/alerts.yml"), readText(t, "../docs/operations.md")
	var expressions []string
	for _, m := range regexp.MustCompile(`(?m)^ +expr: '(.*)'$`).FindAllStringSubmatch(alerts, -1) {
		expressions = append(expressions, m[1])
	}
	usedMetrics(t, "alerts.yml", expressions)
	names := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(alerts, -1)
	if len(names) == 0 || len(names) != len(expressions) {
		t.Fatalf("%d alerts, %d expressions", len(names), len(expressions))
	}
	sections := regexp.MustCompile(`(?m)^### (Tokens\w+)$`).FindAllStringSubmatch(runbook, -1)
	if len(sections) != len(names) {
		t.Errorf("the runbook has %d sections for %d alerts", len(sections), len(names))
	}
	for _, name := range names {
		if !strings.Contains(runbook, "\n### "+name[1]+"\n") {
			t.Errorf("the runbook has no section %s", name[1])
		}
		if !strings.Contains(alerts, "docs/operations.md#"+strings.ToLower(name[1])+"\n") {
			t.Errorf("%s does not name its section of the runbook", name[1])
		}
	}
}

// TestDashboard: the metrics and labels of the dashboard exist, it has all
// metrics, and the documents do, too.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, "../deploy/grafana/dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	var expressions []string
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if p.Title == "" || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("panel %d %q: no title, no query, or an id that is taken", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	used := usedMetrics(t, "dashboard.json", expressions)
	documents := readText(t, "../docs/operations.md")
	for name := range describedMetrics(t) {
		if !slices.Contains(used, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
		if !strings.Contains(documents, "\n| `"+strings.TrimPrefix(name, "caddy_tokens_")+"` |") {
			t.Errorf("the table of docs/operations.md has no %s", name)
		}
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
