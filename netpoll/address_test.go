package netpoll

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestAddressKey: an IPv4 address, however it is written, and the /64 of an IPv6 one.
func TestAddressKey(t *testing.T) {
	for _, same := range [][]string{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:3:4:5:6%eth0"},
		{"fe80::1%a", "fe80::2%b"},
	} {
		want := addressKey(netip.MustParseAddr(same[0]))
		for _, s := range same[1:] {
			if got := addressKey(netip.MustParseAddr(s)); got != want {
				t.Errorf("%s counts as %v, %s as %v", s, got, same[0], want)
			}
		}
	}
	for _, pair := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8:1:2::1", "2001:db8:1:3::1"}, {"::1", "127.0.0.1"}} {
		if addressKey(netip.MustParseAddr(pair[0])) == addressKey(netip.MustParseAddr(pair[1])) {
			t.Errorf("%s and %s count as one", pair[0], pair[1])
		}
	}
}

// TestAddresses: a network of IPv6 has its connections together, and its places
// come back.
func TestAddresses(t *testing.T) {
	a := &addresses{limits: AddressLimits{Conns: 10}}
	var all []*address
	for i := range 20 {
		if x := a.enter(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:1", i)), 0); x != nil {
			all = append(all, x)
		}
	}
	if len(all) != 10 {
		t.Fatalf("%d connections of a network, want 10", len(all))
	}
	if a.enter(netip.MustParseAddr("2001:db8:0:1::1"), 0) == nil {
		t.Error("another network is refused")
	}
	a.leave(all[0])
	if a.enter(netip.MustParseAddr("2001:db8::1"), 0) == nil {
		t.Error("refused, though there is a place again")
	}
}

// TestAddressesAreForgotten: a million who have come and gone are not kept.
func TestAddressesAreForgotten(t *testing.T) {
	a := &addresses{limits: AddressLimits{Conns: 10, HandshakesPerSecond: 1}}
	busy := a.enter(netip.MustParseAddr("192.0.2.1"), 0)
	busy.handshakes.take(time.Hour, 1, 10)
	a.leave(busy)
	for i := range 200_000 {
		x := a.enter(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), time.Hour)
		if x == nil {
			t.Fatal("refused")
		}
		a.leave(x)
	}
	kept := 0
	for i := range a.shards {
		kept += len(a.shards[i].m)
	}
	if kept > len(a.shards)*130 {
		t.Errorf("%d addresses are kept", kept)
	}
	x := a.enter(netip.MustParseAddr("192.0.2.1"), time.Hour)
	if x != busy {
		t.Error("who has done much lately is forgotten")
	}
}

// TestBucket: so many at once, and so many a second after that.
func TestBucket(t *testing.T) {
	var b bucket
	for i := range 20 {
		if !b.take(0, 2, 20) {
			t.Fatalf("the first %d", i)
		}
	}
	for i, c := range []struct {
		at   time.Duration
		want bool
	}{
		{0, false},
		{400 * time.Millisecond, false},
		{500 * time.Millisecond, true},
		{500 * time.Millisecond, false},
		{1500 * time.Millisecond, true},
		{1500 * time.Millisecond, true},
		{1500 * time.Millisecond, false},
	} {
		if got := b.take(c.at, 2, 20); got != c.want {
			t.Errorf("step %d at %v: %v", i, c.at, got)
		}
	}
	if b.full(10*time.Second, 2) || !b.full(12*time.Second, 2) {
		t.Error("full too early, or too late")
	}
}
