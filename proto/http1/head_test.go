package http1

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// pollingGET is what a browser sends for a long poll.
const pollingGET = "GET /socket.io/?EIO=4&transport=polling&t=PQrs7xY&sid=Xq3J0cEwGmWkQ2mFAAAB HTTP/1.1\r\n" +
	"Host: chat.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\n" +
	"Origin: https://chat.example.com\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: cors\r\n" +
	"Sec-Fetch-Dest: empty\r\n" +
	"Referer: https://chat.example.com/rooms/42\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n" +
	"\r\n"

var testLimits = DefaultHeadLimits

// TestParseHeadPrefixes: a part of a head gives nothing, or what the whole gives.
func TestParseHeadPrefixes(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/http", vectors.HTTP) {
		var r Request
		n, err := r.ParseHead(c.Input, testLimits)
		want := outcome(&r, n, err)
		step := 1 + len(c.Input)/2000
		for i := 0; i <= len(c.Input); i++ {
			if i%step != 0 && i != len(c.Input) && (n == 0 || i < n-8 || i > n+8) {
				continue
			}
			n, err := r.ParseHead(c.Input[:i:i], testLimits)
			if n == 0 && err == nil {
				continue
			}
			if got := outcome(&r, n, err); got != want {
				t.Fatalf("%s: the first %d bytes give %s, all %s", c.Pos, i, got, want)
			}
		}
	}
}

func outcome(r *Request, n int, err *Error) string {
	if err != nil {
		return err.Error()
	}
	if n == 0 {
		return "more"
	}
	return fmt.Sprintf("%s, %d bytes", describe(r), n)
}

// TestParseHeadLimits: limits smaller than the defaults hold to the byte.
func TestParseHeadLimits(t *testing.T) {
	head := []byte("GET /123 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n") // 17 bytes, 36 bytes, 2 fields
	for _, c := range []struct {
		lim  HeadLimits
		want *Error
	}{
		{HeadLimits{17, 36, 2}, nil},
		{HeadLimits{16, 36, 2}, errLineTooLong},
		{HeadLimits{17, 35, 2}, errHeadTooLarge},
		{HeadLimits{17, 36, 1}, errFields},
		{HeadLimits{17, 36, 0}, errFields},
		{HeadLimits{8 << 10, 20, 2}, errLineTooLong},
		{HeadLimits{}, errLineTooLong},
	} {
		var r Request
		n, err := r.ParseHead(head, c.lim)
		if err != c.want || (err == nil && n != len(head)) {
			t.Errorf("%+v: n = %d, err = %v, want %v", c.lim, n, err, c.want)
		}
		for i := range head {
			if n, err := r.ParseHead(head[:i], c.lim); n != 0 || (err != nil && err != c.want) {
				t.Errorf("%+v, first %d bytes: n = %d, err = %v, want %v or nil", c.lim, i, n, err, c.want)
			}
		}
	}
}

// TestRequestReuse: nothing of a request is left in the next one.
func TestRequestReuse(t *testing.T) {
	var r Request
	full := []byte("POST http://b/c?d HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n" +
		"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
	if _, err := r.ParseHead(full, testLimits); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(&r), "POST /c?d 1.1 host=b chunked close expect websocket"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	r.Oversize, r.Body = true, []byte("x")
	if _, err := r.ParseHead([]byte("GET / HTTP/1.0\r\n\r\n"), testLimits); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(&r), "GET / 1.0 host= close"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r.Oversize || r.Body != nil || r.Header("Host") != nil || r.RawQuery != nil {
		t.Errorf("something of the first request is left: %+v", r)
	}
}

// TestRequestClone: a clone shares no memory with what it was cloned from.
func TestRequestClone(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/http", vectors.HTTP) {
		b := bytes.Clone(c.Input)
		var r Request
		n, err := r.ParseHead(b, testLimits)
		if err != nil || n == 0 {
			continue
		}
		r.Body = b[n:]
		fields := func(r *Request) (s string) {
			r.EachHeader(func(name, value []byte) { s += fmt.Sprintf("%s=%q ", name, value) })
			return s
		}
		show := func(r *Request) string {
			return fmt.Sprintf("%s %q %s%q", describe(r), r.Target, fields(r), r.Body)
		}
		want := show(&r)
		clone := r.Clone()
		second := clone.Clone()
		for i := range b {
			b[i] = 0xdb
		}
		if got := show(clone); got != want {
			t.Errorf("%s: the clone is\n%s\nwant\n%s", c.Pos, got, want)
		}
		if got := show(second); got != want {
			t.Errorf("%s: the clone's clone is\n%s\nwant\n%s", c.Pos, got, want)
		}
	}
}

// TestRequestHeader: names match whole and in any case.
func TestRequestHeader(t *testing.T) {
	var r Request
	if _, err := r.ParseHead([]byte(pollingGET), testLimits); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"host": "chat.example.com", "HOST": "chat.example.com", "Origin": "https://chat.example.com",
		"cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
	} {
		if got := r.Header(name); string(got) != want {
			t.Errorf("Header(%q) = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"", "Hos", "Hostt", "Accept-", "Sec-Fetch", "Accept: */*\r\nOrigin", "X"} {
		if got := r.Header(name); got != nil {
			t.Errorf("Header(%q) = %q, want nil", name, got)
		}
		if got := r.HeaderCount(name); got != 0 {
			t.Errorf("HeaderCount(%q) = %d, want 0", name, got)
		}
	}
	n := 0
	r.EachHeader(func(name, value []byte) { n++ })
	if n != 12 {
		t.Errorf("EachHeader called %d times, want 12", n)
	}
}

// TestRequestAllocations: reading a request allocates nothing, keeping it two
// runs of bytes.
func TestRequestAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("race build")
	}
	head := []byte(pollingGET)
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		if n, err := r.ParseHead(head, testLimits); n != len(head) || err != nil {
			t.Fatal(n, err)
		}
		if r.Header("Origin") == nil || r.Header("X-None") != nil || r.HeaderCount("Cookie") != 1 {
			t.Fatal("a field is not found")
		}
	}); n != 0 {
		t.Errorf("reading a request: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { r.Clone() }); n != 2 {
		t.Errorf("Clone: %v allocations, want 2", n)
	}
	bad := []byte("GET / HTTP/1.1\r\nHost : a\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.ParseHead(bad, testLimits); err == nil {
			t.Fatal("accepted")
		}
	}); n != 0 {
		t.Errorf("refusing a request: %v allocations, want 0", n)
	}
}

// TestValidFieldValue compares the fast way with the table, at every place of a
// run of eight and behind it.
func TestValidFieldValue(t *testing.T) {
	for size := 1; size <= 19; size++ {
		for at := range size {
			for c := range 256 {
				b := bytes.Repeat([]byte{'a'}, size)
				b[at] = byte(c)
				if got, want := validFieldValue(b), charClass[c]&inValue != 0; got != want {
					t.Fatalf("%q: %v, want %v", b, got, want)
				}
			}
		}
	}
	for c, class := range charClass {
		if want := c == '\t' || c >= ' ' && c != 0x7f; (class&inValue != 0) != want {
			t.Errorf("character %#x in a field value: %v, want %v", c, !want, want)
		}
	}
}
