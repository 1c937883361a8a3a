package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/netip"
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

func id(i int) string { return fmt.Sprintf("%032x", i) }

// house is a desk, and what connects to it from an address.
func house(t *testing.T) (d *desk, from func(address string) *sockeyetest.Client) {
	t.Helper()
	d = newDesk(t.TempDir())
	proxy := netip.MustParsePrefix("192.0.2.0/24") // where clients of tests are
	srv := sockeyetest.NewServer(t, sockeye.Config{TrustedProxies: []netip.Prefix{proxy}})
	d.register(srv.Server)
	return d, func(address string) *sockeyetest.Client {
		return srv.Connect(t, sockeyetest.Options{Header: http.Header{"X-Forwarded-For": {address}}})
	}
}

// TestOneTakesAll: while a peer has all that it can get, by as many sockets as it likes,
// another one uploads.
func TestOneTakesAll(t *testing.T) {
	for name, c := range map[string]struct {
		first  []string // addresses of the first peer
		second string
		size   int
	}{
		"places":          {[]string{"203.0.113.1", "203.0.113.1"}, "203.0.113.2", 10},
		"bytes":           {[]string{"203.0.113.1", "203.0.113.1"}, "203.0.113.2", maxSize},
		"IPv6, a network": {[]string{"2001:db8::1", "2001:db8::2:2"}, "2001:db8:0:1::1", 10},
	} {
		t.Run(name, func(t *testing.T) {
			d, from := house(t)
			accepted := 0
			for i, address := range c.first {
				peer := from(address)
				for j := range maxUploads {
					switch got := fmt.Sprint(peer.Call("begin", id(1000*i+j), c.size)); {
					case got == "[map[have:0]]":
						accepted++
					case !strings.Contains(got, "too many of your files"):
						t.Fatal(got)
					}
				}
			}
			if want := min(maxOwn, maxOwnBytes/c.size); accepted != want {
				t.Errorf("%d are accepted, want %d", accepted, want)
			}
			second := from(c.second)
			if got := fmt.Sprint(second.Call("begin", id(5000), 4)); got != "[map[have:0]]" {
				t.Fatal(got)
			}
			if got := fmt.Sprint(second.Call("piece", id(5000), 0, []byte("file"))); !strings.Contains(got, "have:4 sha256:") {
				t.Fatal(got)
			}
			// What the first gives up is free again.
			for i, u := range d.uploads {
				d.give(i, u)
			}
			if got := fmt.Sprint(from(c.first[0]).Call("begin", id(6000), c.size)); got != "[map[have:0]]" {
				t.Error(got)
			}
		})
	}
}

// TestManySmallFiles: one after the other, as many as one likes; the desk forgets those that
// are whole.
func TestManySmallFiles(t *testing.T) {
	d, from := house(t)
	c := from("203.0.113.1")
	const n = maxOwnWhole + 20
	for i := range n {
		c.Call("begin", id(i), 1)
		if got := fmt.Sprint(c.Call("piece", id(i), 0, []byte("x"))); !strings.Contains(got, "sha256") {
			t.Fatal(i, got)
		}
	}
	if len(d.uploads) != maxOwnWhole || d.all != n*blockSize {
		t.Errorf("%d are remembered; %d bytes", len(d.uploads), d.all)
	}
	for i, u := range d.uploads {
		d.give(i, u)
	}
	if len(d.uploads)+len(d.shares) != 0 {
		t.Errorf("%d uploads and %d shares are left", len(d.uploads), len(d.shares))
	}
}

// TestRefused: what is no upload, and what is too much.
func TestRefused(t *testing.T) {
	d, from := house(t)
	c := from("192.0.2.10")
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
		from(fmt.Sprintf("203.0.113.%d", i)).Call("begin", id(i), 10)
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
	if files, _ := os.ReadDir(d.dir); len(files)+len(d.uploads)+len(d.shares) != 0 {
		t.Errorf("%d files, %d uploads and %d shares are left", len(files), len(d.uploads), len(d.shares))
	}
	if d.open != 0 || d.all != 0 {
		t.Errorf("%d are open, of %d bytes", d.open, d.all)
	}
	d.all = maxAll - 9000
	if got := fmt.Sprint(c.Call("begin", id(5), 9001)); !strings.Contains(got, "no room") {
		t.Errorf("above all files: %s", got)
	}
	if got := fmt.Sprint(c.Call("begin", id(5), 9000)); got != "[map[have:0]]" {
		t.Errorf("exactly: %s", got)
	}
	if got := fmt.Sprint(c.Call("piece", id(3), 0, []byte("x"))); !strings.Contains(got, "no such upload") {
		t.Errorf("after the end: %s", got)
	}
}
