package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestUpload: a file in pieces, over two connections, with a piece that comes twice.
func TestUpload(t *testing.T) {
	d := newDesk(t.TempDir())
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	d.register(srv.Server)
	ask := func(c *sockeyetest.Client, want, event string, args ...any) {
		t.Helper()
		if got := fmt.Sprint(c.Call(event, args...)); got != want {
			t.Errorf("%s: %s, want %s", event, got, want)
		}
	}
	id := strings.Repeat("0f", 16)
	data := bytes.Repeat([]byte("sockeye "), 100)
	first := srv.Connect(t, sockeyetest.Options{})
	ask(first, "[map[have:0]]", "begin", id, len(data))
	ask(first, "[map[have:300]]", "piece", id, 0, data[:300])
	ask(first, "[map[have:300]]", "piece", id, 0, data[:300])
	ask(first, "[map[have:300]]", "piece", id, 400, data[400:])
	ask(first, "[map[have:300]]", "piece", id, 300, append(data[300:], 'x'))
	first.Break()
	second := srv.Connect(t, sockeyetest.Options{})
	ask(second, "[map[have:300]]", "begin", id, len(data))
	ask(second, fmt.Sprintf("[map[have:800 sha256:%x]]", sha256.Sum256(data)), "piece", id, 300, data[300:])
	// The last answer was lost: it comes again, for a while.
	whole := fmt.Sprintf("[map[have:800 sha256:%x]]", sha256.Sum256(data))
	ask(second, whole, "piece", id, 300, data[300:])
	ask(second, whole, "begin", id, len(data))
	ask(second, whole, "piece", id, 800, []byte{})
	d.give(id, d.uploads[id])
	ask(second, "[map[error:there is no such upload, or no longer]]", "piece", id, 0, data[:1])
	if b, err := os.ReadFile(filepath.Join(d.dir, id)); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes are there, %v", len(b), err)
	}
	ask(second, "[map[error:internal error]]", "begin", id, 1) // it is there
}

// TestRefused: what is no upload, and what is too much.
func TestRefused(t *testing.T) {
	d := newDesk(t.TempDir())
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	d.register(srv.Server)
	c := srv.Connect(t, sockeyetest.Options{})
	id := func(i int) string { return fmt.Sprintf("%032x", i) }
	for want, args := range map[string][]any{
		"this is no ID of an upload":   {"../../etc/passwd", 1},
		"files may have up to 256 MB":  {id(1), maxSize + 1},
		"files may have up to 256 MB ": {id(1), 0},
	} {
		if got := fmt.Sprint(c.Call("begin", args...)); got != "[map[error:"+strings.TrimSpace(want)+"]]" {
			t.Errorf("begin %v: %s", args, got)
		}
	}
	for i := range maxUploads {
		c.Call("begin", id(i), 10)
	}
	if got := fmt.Sprint(c.Call("begin", id(maxUploads), 10)); !strings.Contains(got, "too many files") {
		t.Errorf("one more: %s", got)
	}
	if got := fmt.Sprint(c.Call("begin", id(3), 11)); !strings.Contains(got, "no ID") {
		t.Errorf("another size: %s", got)
	}
	// Who does not go on has given up.
	for i, u := range d.uploads {
		d.give(i, u)
	}
	if files, _ := os.ReadDir(d.dir); len(files) != 0 || len(d.uploads) != 0 {
		t.Errorf("%d files and %d uploads are left", len(files), len(d.uploads))
	}
	if d.open != 0 || d.all != 0 {
		t.Errorf("%d are open, of %d bytes", d.open, d.all)
	}
	d.all = maxAll - 9
	if got := fmt.Sprint(c.Call("begin", id(5), 10)); !strings.Contains(got, "no room") {
		t.Errorf("above all files: %s", got)
	}
	if got := fmt.Sprint(c.Call("begin", id(5), 9)); got != "[map[have:0]]" {
		t.Errorf("exactly: %s", got)
	}
	if got := fmt.Sprint(c.Call("piece", id(3), 0, []byte("x"))); !strings.Contains(got, "no such upload") {
		t.Errorf("after the end: %s", got)
	}
}
