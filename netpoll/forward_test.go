package netpoll

import (
	"net/netip"
	"strings"
	"testing"
)

// TestLinkLines: what a link begins with, and each request on it.
func TestLinkLines(t *testing.T) {
	secret := strings.Repeat("aB3_-", 4)
	hello := appendHello(nil, secret)
	for n := range hello {
		if _, k, err := cutLine(hello[:n], helloWord, 100); k != 0 || err != nil {
			t.Errorf("%q: %d, %v", hello[:n], k, err)
		}
	}
	if got, n, err := cutLine(append(hello, "more"...), helloWord, 100); string(got) != secret || n != len(hello) || err != nil {
		t.Errorf("%q, %d, %v", got, n, err)
	}
	for _, b := range []string{"GET / HTTP/1.1\r\n", "S\r\n", "SOCKEYE/1 x\n", "SOCKEYE/1 \n", "SOCKEYE/1\r\n", "SOCKEYE/1 " + strings.Repeat("x", 100)} {
		if _, n, err := cutLine([]byte(b), helloWord, 100); err == nil {
			t.Errorf("%q: %d", b, n)
		}
	}
	for line, want := range map[string]proxied{
		"192.0.2.1:4711 0":  {from: netip.MustParseAddrPort("192.0.2.1:4711")},
		"[2001:db8::1]:1 3": {from: netip.MustParseAddrPort("[2001:db8::1]:1"), tls: true, there: true},
		"@ 1":               {there: true}, "@ 2": {tls: true},
	} {
		if got, err := parseOrigin([]byte(line)); got != want || err != nil {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "@", "@ ", "@ 4", "@ 00", "x 0", "192.0.2.1 0", "[fe80::1%eth0]:1 0", "192.0.2.1:4711  0"} {
		if got, err := parseOrigin([]byte(line)); err == nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
	for s, want := range map[string]bool{secret: true, "short": false, strings.Repeat("x", 65): false, secret + " ": false, secret + "\r\n": false, secret + "ä": false} {
		if ValidSecret(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// FuzzLink: what comes on a link neither panics nor is read beyond its limits.
func FuzzLink(f *testing.F) {
	f.Add([]byte("SOCKEYE/1 x\r\n"))
	f.Add([]byte("FOR 192.0.2.1:4711 2\r\nGET"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, word := range []string{helloWord, originWord} {
			line, n, err := cutLine(b, word, maxOrigin)
			switch {
			case n > min(len(b), maxOrigin), n > 0 && err != nil, n == 0 && err == nil && len(b) >= maxOrigin:
				t.Fatalf("%d, %v", n, err)
			case n > 0:
				_, _ = parseOrigin(line)
			}
		}
	})
}
