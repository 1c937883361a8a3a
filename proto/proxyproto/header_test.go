package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// outcome tells what is read from b, in the form of testdata.
func outcome(b []byte) (lines []string) {
	h, n, err := ConsumeHeader(b)
	var bad *Error
	switch {
	case errors.As(err, &bad):
		return []string{fmt.Sprintf("error %d %s", bad.Offset, bad.Reason)}
	case err != nil:
		return []string{err.Error()}
	case n == 0:
		return []string{"more"}
	}
	line := fmt.Sprintf("v%d", h.Version)
	if h.Local {
		line += " local"
	}
	if h.Source.IsValid() {
		line += fmt.Sprintf(" %v to %v", h.Source, h.Destination)
	}
	if h.TLS {
		line += " tls"
	}
	lines = append(lines, line)
	if n < len(b) {
		lines = append(lines, fmt.Sprintf("rest %d", len(b)-n))
	}
	return lines
}

// TestVectors: each case of testdata, whole and in each of its parts: a part is not
// enough, or already says the same.
func TestVectors(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata", vectors.Proxy) {
		if got := outcome(c.Input); !slices.Equal(got, c.Want) {
			t.Errorf("%s: %s\ngot:  %s\nwant: %s", c.Pos, c.Name, strings.Join(got, "\n      "), strings.Join(c.Want, "\n      "))
			continue
		}
		enough := false
		for n := range c.Input {
			got := outcome(c.Input[:n:n])
			switch {
			case !enough && got[0] == "more":
			case got[0] == c.Want[0]:
				enough = true
			default:
				t.Errorf("%s: %s: %d bytes of it are %q", c.Pos, c.Name, n, got)
			}
		}
	}
}

// TestErrors wrap the sentinel, and tell where.
func TestErrors(t *testing.T) {
	_, _, err := ConsumeHeader([]byte("PROXX"))
	if !errors.Is(err, ErrHeader) || err.Error() != "proxyproto: this is no header, at byte 4" {
		t.Error(err)
	}
}

// TestLongestHeaders: what is more than the limits is never asked for.
func TestLongestHeaders(t *testing.T) {
	for _, begin := range []string{"PROXY UNKNOWN ", v2Signature + "\x21\x11\x10\x00"} {
		limit := MaxV1Bytes
		if begin[0] == '\r' {
			limit = MaxV2Bytes
		}
		b := append([]byte(begin), bytes.Repeat([]byte{0}, limit)...)
		if got := outcome(b[:limit-1]); got[0] != "more" {
			t.Errorf("%q: %q before the limit", begin, got)
		}
		if got := outcome(b[:limit]); got[0] == "more" {
			t.Errorf("%q: more is asked for at the limit", begin)
		}
	}
}

// TestAllocs: version 2 allocates nothing, version 1 what netip needs for two addresses.
func TestAllocs(t *testing.T) {
	for _, c := range []struct {
		in   string
		most float64
	}{
		{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", 2},
		{"PROXY UNKNOWN\r\n", 0},
		{v2Signature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x01\x02\x03\x04", 0},
		{v2Signature + "\x20\x00\x00\x00", 0},
	} {
		b := []byte(c.in)
		if got := testing.AllocsPerRun(100, func() {
			if _, n, err := ConsumeHeader(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}); got > c.most {
			t.Errorf("%q: %v allocations, want %v", c.in, got, c.most)
		}
	}
}
