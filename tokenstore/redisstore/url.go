package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialTimeout may be longer than the budget: a dial goes on when the operation
// that asked for it has left, and the next one finds the connection.
const dialTimeout = time.Second

// parseURLs reads the addresses of one Redis:
//
//	redis://user:password@host:6379/0       one server (rediss:// for TLS)
//	two or more of them                     the nodes of a cluster
//	redis://host:26379/0?master_name=main   sentinels; also redis+sentinel://
//
// Further addresses may also stand in the URL as ?addr=host:port, once for
// each. They take scheme, user, password and options from the first URL.
func parseURLs(urls []string) (*redis.UniversalOptions, error) {
	urls = slices.DeleteFunc(slices.Clone(urls), func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(urls) == 0 {
		return nil, errors.New("redis: no address was given")
	}
	var opts *redis.UniversalOptions
	for i, text := range urls {
		one, err := parseURL(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("redis: address %d of %d: %w", i+1, len(urls), err)
		}
		if opts == nil {
			opts = one
			continue
		}
		if one.MasterName != opts.MasterName && one.MasterName != "" {
			return nil, fmt.Errorf("redis: address %d of %d: names another master than the first", i+1, len(urls))
		}
		opts.Addrs = append(opts.Addrs, one.Addrs...)
	}
	if len(opts.Addrs) > 1 && opts.MasterName == "" && opts.DB != 0 {
		return nil, errors.New("redis: a cluster has no numbered databases; for sentinels add ?master_name=")
	}
	return opts, nil
}

// parseURL reads one. Its errors do not quote the URL: it may hold a password.
func parseURL(text string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("is not readable: write redis://user:password@host:6379/0, with special characters %-escaped")
	}
	sentinel := strings.HasSuffix(u.Scheme, "+sentinel")
	u.Scheme = strings.TrimSuffix(u.Scheme, "+sentinel")
	if u.Scheme != "redis" && u.Scheme != "rediss" {
		return nil, fmt.Errorf("has the scheme %q: redis, rediss or redis+sentinel are known", u.Scheme)
	}
	query := u.Query()
	master := query.Get("master_name")
	if sentinel && master == "" {
		return nil, errors.New("names sentinels without ?master_name=")
	}
	further := query["addr"]
	query.Del("master_name")
	query.Del("addr")
	u.RawQuery = query.Encode()
	single, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, errors.New("has a database number or an option that is not known")
	}
	opts := universal(single)
	opts.MasterName = master
	if master != "" {
		opts.SentinelUsername, opts.SentinelPassword = single.Username, single.Password
	}
	for _, addr := range further {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, errors.New("has an addr= that is not host:port")
		}
		opts.Addrs = append(opts.Addrs, addr)
	}
	return opts, nil
}

// universal takes over what a URL says, and sets what a cache needs that must
// not hold anybody up: no second attempts, no waiting beyond the context.
func universal(o *redis.Options) *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		Addrs: []string{o.Addr}, DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		ClientName: o.ClientName, Protocol: o.Protocol, PoolSize: o.PoolSize, MinIdleConns: o.MinIdleConns,
		MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns, PoolFIFO: o.PoolFIFO,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime,
		DialTimeout: o.DialTimeout, ReadTimeout: dialTimeout, WriteTimeout: dialTimeout,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if u.DialTimeout == 0 {
		u.DialTimeout = dialTimeout
	}
	return u
}
