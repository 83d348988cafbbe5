package testproxy

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver asks a NameServer.
func Resolver(tb testing.TB, answers ...[]string) *net.Resolver {
	tb.Helper()
	server := NameServer(tb, answers...)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", server)
	}}
}

// NameServer is the address of a DNS server that gives the first of the answers to the
// first question for an IPv4 address, whatever the name, the second to the next one, and
// goes on with the last. Without one, there is no such name.
func NameServer(tb testing.TB, answers ...[]string) string {
	tb.Helper()
	server, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = server.Close() })
	var asked atomic.Int32
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			if reply := reply(packet[:n], &asked, answers); reply != nil {
				_, _ = server.WriteTo(reply, from)
			}
		}
	}()
	return server.LocalAddr().String()
}

// reply answers one question; nil for what is none.
func reply(packet []byte, asked *atomic.Int32, answers [][]string) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	question := m.Questions[0]
	switch {
	case len(answers) == 0:
		m.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		for _, text := range answers[min(int(asked.Add(1)), len(answers))-1] {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()},
			})
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
