package redisstore

import (
	"slices"
	"strings"
	"testing"
)

func TestParseURLs(t *testing.T) {
	for _, c := range []struct {
		urls   []string
		addrs  []string
		master string
		db     int
		tls    bool
	}{
		{urls: []string{"redis://h"}, addrs: []string{"h:6379"}},
		{urls: []string{" rediss://u:p@h:7000/3 "}, addrs: []string{"h:7000"}, db: 3, tls: true},
		{urls: []string{"redis://a:1", "redis://b:2", ""}, addrs: []string{"a:1", "b:2"}},
		{urls: []string{"redis://u:p@a:1?addr=b:2&addr=[::1]:3"}, addrs: []string{"a:1", "b:2", "[::1]:3"}},
		{urls: []string{"redis+sentinel://u:p@a:1/4?master_name=m&addr=b:2"}, addrs: []string{"a:1", "b:2"}, master: "m", db: 4},
		{urls: []string{"redis://a:1?master_name=m", "redis://b:2"}, addrs: []string{"a:1", "b:2"}, master: "m"},
		{urls: []string{"redis://[::1]:5"}, addrs: []string{"[::1]:5"}},
	} {
		got, err := parseURLs(c.urls)
		if err != nil {
			t.Errorf("%q: %v", c.urls, err)
			continue
		}
		if !slices.Equal(got.Addrs, c.addrs) || got.MasterName != c.master || got.DB != c.db || (got.TLSConfig != nil) != c.tls {
			t.Errorf("%q: %v, master %q, db %d", c.urls, got.Addrs, got.MasterName, got.DB)
		}
		if c.master != "" && strings.Contains(c.urls[0], "u:p@") && got.SentinelPassword != "p" {
			t.Errorf("%q: the sentinels get no password", c.urls)
		}
	}
}

func TestBadURLsAreNotQuoted(t *testing.T) {
	const canary = "canary-4711"
	for _, urls := range [][]string{
		nil,
		{"", " "},
		{"redis://u:" + canary + "%zz@h"},
		{"redis://u:" + canary + "@h:port"},
		{"http://u:" + canary + "@h"},
		{canary},
		{"redis://u:" + canary + "@h/x"},
		{"redis://u:" + canary + "@h?unknown=1"},
		{"redis://u:" + canary + "@h?addr=noport"},
		{"redis+sentinel://u:" + canary + "@h"},
		{"redis://u:" + canary + "@a/1", "redis://b"},
		{"redis://a?master_name=m", "redis://u:" + canary + "@b?master_name=other"},
	} {
		_, err := New(urls, nil, nil)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", urls, err)
		}
	}
}
