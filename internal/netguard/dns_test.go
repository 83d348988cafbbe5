package netguard

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// stub is a resolver that asks a DNS server on loopback. It answers the first
// lookup of an IPv4 address with the first of the addresses, the next with the
// next, and goes on with the last.
func stub(t *testing.T, answers ...netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	var asked atomic.Int32
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			if reply := replyTo(packet[:n], &asked, answers); reply != nil {
				_, _ = server.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", server.LocalAddr().String())
	}}
}

// replyTo answers one question (RFC 1035 section 4.1): A with an address,
// anything else with nothing.
func replyTo(query []byte, asked *atomic.Int32, answers []netip.Addr) []byte {
	const header, typeA = 12, 1
	end := header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	reply := make([]byte, header, 512)
	copy(reply, query[:2])
	binary.BigEndian.PutUint16(reply[2:], 0x8180) // an answer, recursion done
	binary.BigEndian.PutUint16(reply[4:], 1)
	reply = append(reply, query[header:end]...)
	if binary.BigEndian.Uint16(query[end-4:]) != typeA {
		return reply
	}
	n := min(int(asked.Add(1))-1, len(answers)-1)
	binary.BigEndian.PutUint16(reply[6:], 1)
	reply = append(reply, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4)
	return append(reply, answers[n].AsSlice()...)
}
