package http1

import (
	"fmt"
	"strings"
	"testing"
)

// TestCompactWithin: what is left out, and that the rest is read again.
func TestCompactWithin(t *testing.T) {
	long := strings.Repeat("l", 400)
	first := []string{"Cookie", "Authorization", "Origin"}
	for _, c := range []struct {
		name, head string
		limit      int
		want       string // the fields that stay, in order
		left       bool
	}{
		{"no limit", "GET / HTTP/1.1\r\nHost: h\r\nA: " + long + "\r\n", -1, "Host A", false},
		{"it fits", "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n", 100, "Host A B", false},
		{"a large one", "GET / HTTP/1.1\r\nHost: h\r\nA: " + long + "\r\nB: 2\r\n", 100, "Host B", true},
		{"first ones", "GET / HTTP/1.1\r\nA: " + long + "\r\nHost: h\r\norigin: http://o\r\nCookie: " + long + "\r\n", 450, "Host origin Cookie", true},
		{"the first of the first", "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: " + long + "\r\nCookie: " + long + "\r\nB: 2\r\n", 450, "Host Cookie B", true},
		{"twice", "GET / HTTP/1.1\r\nHost: h\r\nCookie: a\r\nA: 1\r\nCookie: " + long + "\r\nCookie: b\r\n", 100, "Host Cookie A Cookie", true},
		{"white space", "GET / HTTP/1.1\r\nHost: " + strings.Repeat(" ", 500) + "h \r\nB: 2\r\n", 100, "Host B", true},
		{"the request line", "GET /?" + long + " HTTP/1.1\r\nHost: h\r\nB: 2\r\n", 100, "Host", true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nA: " + long + "\r\nB: 2\r\n", 100, "B", true},
		{"not ASCII", "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("\xe9", 40) + "\r\nB: 2\r\n", 80, "Host B", true},
		{"framing", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nA: " + long + "\r\n", 20, "Host", true},
	} {
		var r Request
		if n, err := r.ParseHead([]byte(c.head+"\r\n"), testLimits); n == 0 || err != nil {
			t.Fatal(c.name, err)
		}
		compact, left := r.AppendCompactWithin([]byte("before"), c.limit, first)
		again := ExpandRequest(string(compact[len("before"):]))
		var names []string
		again.EachHeader(func(name, value []byte) {
			names = append(names, string(name))
			if strings.EqualFold(string(name), "Host") && string(value) != "h" {
				t.Errorf("%s: host %q", c.name, value)
			}
		})
		if got := strings.Join(names, " "); got != c.want || left != c.left {
			t.Errorf("%s: kept %q, left %v", c.name, got, left)
		}
		if string(again.Target) != string(r.Target) || string(again.Host) != string(r.Host) || again.Minor != r.Minor {
			t.Errorf("%s: %s", c.name, describe(again))
		}
		if size := len(compact) - len("before"); c.limit >= 0 && size > max(c.limit, len(r.Target)+20) {
			t.Errorf("%s: %d bytes", c.name, size)
		}
	}
}

// TestHostLength: no name is longer than 255 bytes.
func TestHostLength(t *testing.T) {
	for n, valid := range map[int]bool{1: true, 255: true, 256: false, 4000: false} {
		var r Request
		_, err := r.ParseHead(fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s:80\r\n\r\n", strings.Repeat("h", n)), testLimits)
		if (err == nil) != valid {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
