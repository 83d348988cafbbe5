package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// maxTypos is how many letters an option may differ in from the one that was
// meant; short names in fewer, or any other word would be near.
const maxTypos = 2

// didYouMean is the end of an error about an unknown option: the known one
// that is nearest to it, or nothing where none is near.
func didYouMean(name string, known []string) string {
	best, least := "", min(maxTypos, (len(name)+1)/3)+1
	for _, k := range known {
		if n := distance(name, k); n < least {
			best, least = k, n
		}
	}
	if best == "" {
		best = byBeginning(name, known)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean '%s'?", best)
}

// byBeginning is the one option that begins with the name or, where there is
// none, the one with which the name begins; "" for several. Beginnings of less
// than four letters are chance.
func byBeginning(name string, known []string) string {
	var longer, shorter []string
	for _, k := range known {
		switch {
		case min(len(k), len(name)) < 4:
		case strings.HasPrefix(k, name):
			longer = append(longer, k)
		case strings.HasPrefix(name, k):
			shorter = append(shorter, k)
		}
	}
	switch {
	case len(longer) == 1:
		return longer[0]
	case len(longer) == 0 && len(shorter) == 1:
		return shorter[0]
	}
	return ""
}

// distance is how many letters have to be changed, added, left out or swapped
// with their neighbour to make b of a (the optimal string alignment distance).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// names are the options' names, sorted.
func (o options) names() []string { return slices.Sorted(maps.Keys(o)) }

// The options of Caddy's own parsers, for suggestions only: what they take is
// theirs to say.
var (
	reverseProxyOptions = []string{
		"to", "dynamic", "lb_policy", "lb_retries", "lb_try_duration", "lb_try_interval", "lb_retry_match",
		"health_uri", "health_path", "health_upstream", "health_port", "health_interval", "health_passes", "health_fails",
		"health_timeout", "health_method", "health_status", "health_request_body", "health_body",
		"health_follow_redirects", "health_headers", "max_fails", "fail_duration", "unhealthy_request_count",
		"unhealthy_status", "unhealthy_latency", "flush_interval", "request_buffers", "response_buffers",
		"stream_timeout", "stream_close_delay", "stream_buffer_size", "trusted_proxies", "verbose_logs",
		"header_up", "header_down", "method", "rewrite", "transport", "handle_response", "replace_status", "proxy_status_name",
	}
	httpTransportOptions = []string{
		"read_buffer", "write_buffer", "max_response_header", "network_proxy", "proxy_protocol", "forward_proxy_url",
		"dial_timeout", "dial_fallback_delay", "response_header_timeout", "expect_continue_timeout", "read_timeout",
		"write_timeout", "resolvers", "tls", "tls_client_auth", "tls_insecure_skip_verify", "tls_timeout",
		"tls_trusted_ca_certs", "tls_trust_pool", "tls_server_name", "tls_renegotiation", "tls_except_ports",
		"tls_curves", "keepalive", "keepalive_interval", "keepalive_idle_conns", "keepalive_idle_conns_per_host",
		"local_address", "versions", "compression", "max_conns_per_host",
	}
)

// suggest adds to the error with which one of Caddy's own parsers stopped which
// option was perhaps meant. lines are the first words of the block's lines; the
// dispenser stands where the parser stopped.
func suggest(err error, d *caddyfile.Dispenser, lines []string, known ...string) error {
	name := d.Val()
	if err == nil || slices.Contains(known, name) || !slices.Contains(lines, name) {
		return err
	}
	if hint := didYouMean(name, known); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}
