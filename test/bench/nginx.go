package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// nginxConfig is nginx that puts a token into requests by a few lines of Lua, as
// teams do who have no product for it: the token lies in shared memory, and
// something else renews it. It has as many workers as Caddy has processors, and
// keeps as many idle connections. DIR and PORT are replaced.
const nginxConfig = `daemon off;
worker_processes %d;
pid DIR/nginx.pid;
error_log stderr crit;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events {
	worker_connections 4096;
}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	lua_shared_dict tokens 1m;
	init_by_lua_block {
		ngx.shared.tokens:set("bench/main", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	}
	upstream api {
		server %s;
		keepalive 512;
	}
	server {
		listen 127.0.0.1:PORT;
		location / {
			access_by_lua_block {
				local arguments = ngx.req.get_uri_args()
				arguments.access_token = ngx.shared.tokens:get("bench/main")
				ngx.req.set_uri_args(arguments)
			}
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			%s
		}
	}
}
`

// nginxHTTP and nginxHTTPS are configurations with the upstream over either. nginx
// compares names only, and the upstream's certificate has this one beside its
// address (net/http/httptest).
func nginxHTTP(processors int, upstream string) string {
	return fmt.Sprintf(nginxConfig, processors, upstream, "proxy_pass http://api;")
}

func nginxHTTPS(processors int, upstream, ca string) string {
	return fmt.Sprintf(nginxConfig, processors, upstream, fmt.Sprintf(
		"proxy_pass https://api;\n\t\t\tproxy_ssl_verify on;\n\t\t\tproxy_ssl_trusted_certificate %s;\n\t\t\tproxy_ssl_name example.com;", ca))
}

// startNginx runs nginx and waits for the first answer.
func (b *bench) startNginx(ctx context.Context, v variant) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b.runs++
	dir := filepath.Join(b.dir, fmt.Sprint("nginx.", b.runs))
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the workers of nginx have another user
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	config := strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(port)).Replace(v.config)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nginx", "-p", dir, "-c", file) //nolint:gosec // Debian's
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it ends its workers
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, port: port}
	if err := p.await(ctx, v.path, v.header); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}
