package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// facts are the sentences about the token that the config itself tells.
func (l language) facts(p presets.Preset) (list []string) {
	w, c := l.w, p.Config
	add := func(sentence string) {
		if sentence != "" {
			list = append(list, sentence)
		}
	}
	if places := l.places(c.Inject); len(places) > 0 {
		add(fmt.Sprintf(w.injected, w.join(places, w.and)))
		add(fmt.Sprintf(w.hosts, w.join(code(p.Hosts()), w.and)))
	} else {
		add(w.notInjected)
	}
	add(w.semantics[c.Semantics])
	if c.Overlap > 0 && w.overlap[c.Semantics] != "" {
		add(fmt.Sprintf(w.overlap[c.Semantics], l.duration(c.Overlap.Std())))
	}
	add(w.refresh[c.RefreshSemantics])
	if c.KeepWarm.IsOn() {
		add(w.warm)
	}
	for _, window := range c.Limits.Windows {
		add(fmt.Sprintf(w.window, grouped(window.Calls), l.duration(window.Per.Std())))
	}
	if c.Limits.MinInterval > 0 {
		add(fmt.Sprintf(w.minInterval, l.duration(c.Limits.MinInterval.Std())))
	}
	if len(c.RenewOn) > 0 {
		var rules []string
		for _, rule := range c.RenewOn {
			rules = append(rules, l.rule(rule))
		}
		add(fmt.Sprintf(w.dead, strings.Join(rules, map[string]string{"en": "; ", "zh": "；"}[l.code])))
	}
	return list
}

// places are where the token is put. What else is put into requests, such as
// the id of a user, is not the token.
func (l language) places(inject []realm.Injection) (list []string) {
	for _, in := range inject {
		if in.Value != "" && !strings.Contains(in.Value, "{token}") {
			continue
		}
		place := l.w.places[in.Place]
		if strings.Contains(place, "%s") {
			place = fmt.Sprintf(place, strings.TrimPrefix(in.Name, "/"))
		}
		list = append(list, place)
	}
	return list
}

// rule describes a condition on an answer: "HTTP 401", "HTTP 200 with errcode
// 40001 or 42001".
func (l language) rule(r realm.Rule) string {
	var said struct {
		Status             []int
		JSON, Text, Header string
		Values             []json.RawMessage
		Types              []string
		Absent             bool
	}
	encoded, err := json.Marshal(r)
	if err != nil || json.Unmarshal(encoded, &said) != nil {
		panic(fmt.Sprintf("a rule has no JSON form: %v", err)) // realm.Rule always has
	}
	var parts []string
	if len(said.Status) > 0 {
		var list []string
		for _, status := range said.Status {
			list = append(list, strconv.Itoa(status))
		}
		parts = append(parts, "HTTP "+l.w.join(list, l.w.or))
	}
	var values []string
	for _, value := range said.Values {
		values = append(values, "`"+strings.Trim(string(value), `"`)+"`")
	}
	for _, name := range []string{said.JSON, said.Header} {
		switch {
		case name == "":
		case len(values) == 0:
			parts = append(parts, "`"+name+"`")
		default:
			parts = append(parts, fmt.Sprintf(l.w.isOneOf, "`"+name+"`", l.w.join(values, l.w.or)))
		}
	}
	if said.Text != "" {
		parts = append(parts, "`"+said.Text+"`")
	}
	return strings.Join(parts, l.w.also)
}

// duration writes a duration in the largest unit that is whole.
func (l language) duration(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d < unit.of || d%unit.of != 0 {
			continue
		}
		if n := int(d / unit.of); n > 1 {
			return fmt.Sprintf(l.w.units[unit.name][1], n)
		}
		return l.w.units[unit.name][0]
	}
	return d.String()
}

// grouped writes a number with commas: 500,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// code writes words as code.
func code(list []string) []string {
	marked := make([]string, len(list))
	for i, s := range list {
		marked[i] = "`" + s + "`"
	}
	return marked
}
