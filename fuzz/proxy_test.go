package fuzz

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/proto/proxyproto"
)

// FuzzProxyHeader: a header is the same however it is cut and whatever follows it, more
// is never asked for beyond the limits, and what version 1 says is written as netip
// writes it.
func FuzzProxyHeader(f *testing.F) {
	for _, c := range vectors.Load(f, "../proto/proxyproto/testdata", vectors.Proxy) {
		f.Add(c.Input, uint16(len(c.Input)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole := bytes.Clone(b)
		h, n, err := proxyproto.ConsumeHeader(b)
		switch {
		case !bytes.Equal(b, whole):
			t.Fatal("the input is changed")
		case n < 0 || n > len(b) || n > proxyproto.MaxV2Bytes:
			t.Fatalf("n is %d of %d", n, len(b))
		case n > 0 && err != nil:
			t.Fatalf("%d bytes, and %v", n, err)
		case n == 0 && err == nil && len(b) >= proxyproto.MaxV2Bytes:
			t.Fatalf("more is asked for after %d bytes", len(b))
		case h.Source.IsValid() != h.Destination.IsValid() || h.Local && (h.Source.IsValid() || h.TLS):
			t.Fatalf("%+v", h)
		case n > 0 && h.Version == 1 && n > proxyproto.MaxV1Bytes:
			t.Fatalf("version 1 of %d bytes", n)
		}
		want := fmt.Sprint(h, n, err)
		if n > 0 {
			if again, m, err2 := proxyproto.ConsumeHeader(b[:n:n]); fmt.Sprint(again, m, err2) != want {
				t.Fatalf("alone: %v %v %v, want %s", again, m, err2, want)
			}
		}
		part := b[:min(int(cut), len(b))]
		h2, m, err2 := proxyproto.ConsumeHeader(part)
		if got := fmt.Sprint(h2, m, err2); (m > 0 || err2 != nil) && got != want {
			t.Fatalf("%d bytes are %s, and all are %s", len(part), got, want)
		}
		if (n > 0 || err != nil) && len(b) > 0 {
			more, k, err3 := proxyproto.ConsumeHeader(append(whole, "GET / HTTP/1.1\r\n"...))
			if got := fmt.Sprint(more, k, err3); got != want {
				t.Fatalf("with more behind it: %s, want %s", got, want)
			}
		}
		if h.Version != 1 || !h.Source.IsValid() {
			return
		}
		family := "TCP6"
		if h.Source.Addr().Is4() {
			family = "TCP4"
		}
		line := fmt.Sprintf("PROXY %s %v %v %d %d\r\n", family, h.Source.Addr(), h.Destination.Addr(), h.Source.Port(), h.Destination.Port())
		if h.Source.Addr().Is4() != h.Destination.Addr().Is4() {
			return // one of them was IPv4 in IPv6
		}
		if again, m, err := proxyproto.ConsumeHeader([]byte(line)); m != len(line) || err != nil || again != h {
			t.Fatalf("%q, of %+v, is %+v, %v", line, h, again, err)
		}
	})
}
