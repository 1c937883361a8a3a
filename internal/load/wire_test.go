package load

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"
)

// serverFrame is an unmasked frame.
func serverFrame(op byte, body string) []byte {
	b := []byte{0x80 | op}
	switch n := len(body); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, body...)
}

// most is what the tests take.
const most = 1 << 20

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		want := strings.Repeat("a", size)
		stream := append(serverFrame(opText, want), serverFrame(opPing, "p")...)
		for cut := range min(len(stream)-3, 20) {
			if _, rest, ok, f := nextFrame(stream[:cut], most); size > 18 && (ok || f != nil || len(rest) != cut) {
				t.Fatalf("%d bytes of a frame of %d: ok %v, %v, %d left", cut, size, ok, f, len(rest))
			}
		}
		fr, rest, ok, f := nextFrame(stream, most)
		if fr.op != opText || string(fr.body) != want || !fr.last || !ok || f != nil {
			t.Fatalf("size %d: op %d, %d bytes, ok %v, %v", size, fr.op, len(fr.body), ok, f)
		}
		if fr, rest, ok, f = nextFrame(rest, most); fr.op != opPing || string(fr.body) != "p" || len(rest) != 0 || !ok || f != nil {
			t.Fatalf("second frame: op %d, %q, ok %v, %v", fr.op, fr.body, ok, f)
		}
	}
	for _, bad := range [][]byte{
		{0xc1, 0}, {0x83, 0}, {0x8b, 0}, {0x81, 0x80}, {0x09, 0}, {0x89, 126}, // reserved bits, unknown, masked, control
	} {
		if _, _, _, f := nextFrame(bad, most); f == nil || f.Kind != KindProtocol {
			t.Errorf("frame %x: %v", bad, f)
		}
	}
	// A size above the limit is refused before its bytes are there.
	for _, huge := range [][]byte{{0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 1}, {0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255}} {
		if _, _, _, f := nextFrame(huge, most); f == nil || f.Kind != KindTooLarge {
			t.Errorf("frame %x: %v", huge, f)
		}
	}
}

func TestClientFrames(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		body := bytes.Repeat([]byte("b"), size)
		b := appendFrame(nil, opText, body)
		if b[1]&0x80 == 0 {
			t.Fatal("not masked")
		}
		head := len(b) - size
		if !bytes.Equal(b[head-4:head], make([]byte, 4)) || !bytes.Equal(b[head:], body) {
			t.Fatalf("size %d: mask %x", size, b[head-4:head])
		}
		b[1] &^= 0x80 // as a server's, but for the mask
		fr, _, ok, f := nextFrame(append(b[:head-4:head-4], body...), most)
		if !ok || f != nil || len(fr.body) != size {
			t.Fatalf("size %d is read as %d: %v", size, len(fr.body), f)
		}
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct {
		name, stream, body, rest string
		status                   int
		closes                   bool
	}{
		{"length", "HTTP/1.1 200 OK\r\ncontent-Length: 3\r\n\r\nabcHTTP", "abc", "HTTP", 200, false},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n.", "ab0123456789", ".", 200, false},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n\x81\x00", "", "\x81\x00", 101, false},
		{"closing", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", "", 400, true},
	} {
		whole := len(c.stream) - len(c.rest)
		for cut := range whole {
			if _, rest, ok, f := nextResponse([]byte(c.stream[:cut]), most, false); ok || f != nil || len(rest) != cut {
				t.Fatalf("%s, %d of %d bytes: ok %v, %v, %d left", c.name, cut, whole, ok, f, len(rest))
			}
		}
		r, rest, ok, err := nextResponse([]byte(c.stream), most, false)
		if !ok || err != nil || r.status != c.status || r.closes != c.closes || string(r.body) != c.body || string(rest) != c.rest {
			t.Errorf("%s: %+v, rest %q, ok %v, %v", c.name, r, rest, ok, err)
		}
	}
	for _, bad := range []string{
		"SMTP\r\n\r\n", "\x00\x01", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
	} {
		if _, _, _, f := nextResponse([]byte(bad), most, false); f == nil || f.Kind != KindProtocol {
			t.Errorf("%q: %v", bad, f)
		}
	}
	for _, huge := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead),
	} {
		if _, _, _, f := nextResponse([]byte(huge), most, false); f == nil || f.Kind != KindTooLarge {
			t.Errorf("%.40q: %v", huge, f)
		}
	}
	// Without a length the body ends with the connection.
	const old = "HTTP/1.0 200 OK\r\n\r\nuntil the end"
	if _, _, ok, f := nextResponse([]byte(old), most, false); ok || f != nil {
		t.Errorf("a body is taken before its end: %v", f)
	}
	if r, rest, ok, f := nextResponse([]byte(old), most, true); !ok || f != nil || string(r.body) != "until the end" || !r.closes || len(rest) > 0 {
		t.Errorf("%+v, ok %v, %v", r, ok, f)
	}
}

func TestPackets(t *testing.T) {
	for _, c := range []struct {
		text string
		want Packet
		data string
		ok   bool
	}{
		{`2["a",1]`, Packet{Type: '2', ID: -1}, `["a",1]`, true},
		{`2/admin,12["a"]`, Packet{Type: '2', Namespace: []byte("/admin"), ID: 12}, `["a"]`, true},
		{`3/admin?x=1,7[]`, Packet{Type: '3', Namespace: []byte("/admin"), ID: 7}, `[]`, true},
		{`51-["a",{"_placeholder":true,"num":0}]`, Packet{Type: '5', ID: -1}, `["a",{"_placeholder":true,"num":0}]`, true},
		{`61-/n,3[{"_placeholder":true,"num":0}]`, Packet{Type: '6', Namespace: []byte("/n"), ID: 3}, `[{"_placeholder":true,"num":0}]`, true},
		{`0/n,{"sid":"x"}`, Packet{Type: '0', Namespace: []byte("/n"), ID: -1}, `{"sid":"x"}`, true},
		{`1`, Packet{Type: '1', ID: -1}, ``, true},
		{`1/n`, Packet{Type: '1', Namespace: []byte("/n"), ID: -1}, ``, true},
		{text: ``},
		{text: `7`},
		{text: `x`},
		{text: `2`},
		{text: `2{}`},
		{text: `2["a"`},
		{text: `3[]`},
		{text: `5["a"]`},
		{text: `5x-["a"]`},
		{text: `39999999999999999999[]`},
	} {
		p, ok := Parse([]byte(c.text))
		if ok != c.ok {
			t.Errorf("%s: %v", c.text, ok)
		}
		if ok && (p.Type != c.want.Type || p.ID != c.want.ID || !bytes.Equal(p.Namespace, c.want.Namespace) || string(p.Data) != c.data) {
			t.Errorf("%s: %+v", c.text, p)
		}
	}
}

func TestEventNames(t *testing.T) {
	for _, c := range []struct {
		name, data string
		is         bool
	}{
		{"news", `["news",1]`, true},
		{"news", `["news"]`, true},
		{"news", `["new",1]`, false},
		{"news", `["newsletter"]`, false},
		{"news", `["\u006eews",1]`, true},
		{"é<\"", `["\u00e9<\"",1]`, true},
		{"é<\"", `["é<\"",1]`, true},
		{"news", `[1]`, false},
		{"news", `[]`, false},
		{"news", `["new`, false},
		{"news", `["new\`, false},
		{"news", ``, false},
	} {
		if got := NewEventName(c.name).Is([]byte(c.data)); got != c.is {
			t.Errorf("%q in %s: %v", c.name, c.data, got)
		}
	}
}

// FuzzServer has all that reads what servers send read anything: it neither panics nor goes
// on without end, and what it returns is within what it got.
func FuzzServer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Add(append(serverFrame(opText, `42["a"]`), serverFrame(opPing, "p")...))
	f.Add([]byte(`51-/n,3["a"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ended := range []bool{false, true} {
			if r, rest, ok, f := nextResponse(b, 1000, ended); ok && (f != nil || len(rest) > len(b) || len(r.body) > 1000) {
				t.Errorf("%+v, %q", r, rest)
			}
		}
		for d := b; ; {
			fr, rest, ok, f := nextFrame(d, 1000)
			if !ok || f != nil {
				break
			}
			if len(rest) >= len(d) || len(fr.body) > 1000 {
				t.Fatalf("%+v, %q of %q", fr, rest, d)
			}
			d = rest
		}
		Parse(b)
		NewEventName("a").Is(b)
		said(b)
	})
}

func TestLeadingNumbers(t *testing.T) {
	const ns = 1795761794600419643 // a time
	if n, rest, ok := LeadingNumber([]byte("1795761794600419643-x-")); n != ns || string(rest) != "x-" || !ok {
		t.Errorf("%d, %q, %v", n, rest, ok)
	}
	for _, bad := range []string{"", "-", "12", "+1-", "9223372036854775808-"} {
		if n, _, ok := LeadingNumber([]byte(bad)); ok {
			t.Errorf("%q begins with %d", bad, n)
		}
	}
}

func TestNumbersFit(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "007": 7, strconv.Itoa(math.MaxInt): math.MaxInt, strconv.FormatUint(math.MaxInt+1, 10): -1, "": -1, "-1": -1, "+1": -1, "1a": -1} {
		if n, ok := decimal([]byte(text)); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
}

// TestResponseIsCheap: a poll's answer is read without memory of its own.
func TestResponseIsCheap(t *testing.T) {
	stream := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 10\r\nCache-Control: no-store\r\n\r\n42[\"a\",10]")
	if n := testing.AllocsPerRun(100, func() {
		if r, _, ok, f := nextResponse(stream, 1<<20, false); !ok || f != nil || len(r.body) != 10 {
			t.Fatal(f)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
