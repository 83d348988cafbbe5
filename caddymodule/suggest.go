package caddymodule

import (
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
)

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
	if hint := spelling.DidYouMean(name, known); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}
