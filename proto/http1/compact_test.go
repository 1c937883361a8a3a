package http1

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

func TestCompactRequest(t *testing.T) {
	check := func(name string, head []byte) {
		t.Helper()
		var r Request
		n, err := r.ParseHead(head, testLimits)
		if n == 0 || err != nil {
			return
		}
		compact := r.AppendCompact(nil)
		again := ExpandRequest(string(compact))
		if !bytes.Equal(again.head, r.head) || outcome(again, n, nil) != outcome(&r, n, nil) {
			t.Errorf("%s: %q became %q by %q", name, r.head, again.head, compact)
		}
	}
	for _, c := range vectors.Load(t, "testdata/http", vectors.HTTP) {
		check(c.Pos, c.Input)
	}
	check("a poll", []byte(pollingGET))
	for i, entry := range compactTable {
		for j := range i {
			if strings.HasPrefix(entry, compactTable[j]) {
				t.Errorf("%q is never reached, for %q", entry, compactTable[j])
			}
		}
		line := "GET / HTTP/1.1\r\n" + entry
		if i < 6 {
			line = entry
		}
		if !strings.HasSuffix(line, "\n") {
			line += " HTTP/1.1\r\n"
		}
		if !strings.Contains(line, "Host: ") {
			line += "Host: h\r\nX: \x80\xff\r\n"
		}
		check(entry, []byte(line+"\r\n"))
	}
	if len(compactTable) > compactEscape-0x80 {
		t.Errorf("the table has %d entries", len(compactTable))
	}
}

// TestCompactSizes: what the heads of common clients take.
func TestCompactSizes(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		most int
	}{
		"a browser's poll": {pollingGET, 250},
		"ws of Node": {"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nHost: 127.0.0.1:3000\r\n\r\n", 48},
		"ws of Node by net/http": {"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nConnection: Upgrade\r\n" +
			"Sec-Websocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Sec-Websocket-Version: 13\r\nUpgrade: websocket\r\n\r\n", 48},
	} {
		var r Request
		if n, err := r.ParseHead([]byte(c.head), testLimits); n == 0 || err != nil {
			t.Fatal(name, err)
		}
		if got := len(r.AppendCompact(nil)); got > c.most {
			t.Errorf("%s: %d bytes of %d, want %d", name, got, len(c.head), c.most)
		}
	}
}
