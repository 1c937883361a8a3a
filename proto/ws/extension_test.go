package ws

import (
	"bytes"
	"compress/flate"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/proto/http1"
)

func acceptExtensions(r *http1.Request) (string, *Refusal) {
	x := Extensions{SmallWindows: true}
	return accept(r, &x)
}

func accept(r *http1.Request, x *Extensions) (string, *Refusal) {
	r.EachHeader(func(name, value []byte) {
		if equalFold(name, "Sec-WebSocket-Extensions") {
			x.Add(value)
		}
	})
	return x.Accept()
}

// offerRequest is a handshake with those fields, separated by " | ".
func offerRequest(t testing.TB, fields string) *http1.Request {
	t.Helper()
	lines := ""
	for value := range strings.SplitSeq(fields, "|") {
		lines += "Sec-WebSocket-Extensions: " + strings.TrimSpace(value) + "\r\n"
	}
	const before = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	return parseUpgrade(t, strings.Replace(upgradeGET, before, lines, 1))
}

// TestExtensionOffers: RFC 7692 section 7.1 and RFC 6455 section 9.1.
func TestExtensionOffers(t *testing.T) {
	text, err := os.ReadFile("testdata/wsext/rfc7692-7.1-offers.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{"yes": acceptDeflate}
	for i, line := range acceptWindow {
		lines[strconv.Itoa(minWindowBits+i)] = line
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		verdict, fields, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if verdict == "#" || verdict == "" {
			continue
		}
		counts[verdict]++
		x := Extensions{SmallWindows: true}
		got, httpErr := accept(offerRequest(t, fields), &x)
		wantErr := verdict == "400"
		if (httpErr != nil) != wantErr || httpErr != nil && httpErr != errUpgradeExtensions || got != lines[verdict] {
			t.Errorf("%s: %q, %v, want %s", fields, got, httpErr, verdict)
		}
		window := 32_768
		if bits, err := strconv.Atoi(verdict); err == nil && bits <= 15 {
			window = 1 << bits
		}
		if x.MaxWindow() != window {
			t.Errorf("%s: a window of %d, want %d", fields, x.MaxWindow(), window)
		}
	}
	for _, verdict := range []string{"yes", "8", "9", "14", "15", "no", "400"} {
		if counts[verdict] == 0 {
			t.Errorf("no vectors with %q", verdict)
		}
	}
	r := parseUpgrade(t, strings.Replace(upgradeGET, "Sec-WebSocket-Extensions", "X-Extensions", 1))
	if got, err := acceptExtensions(r); got != "" || err != nil {
		t.Errorf("without the field: %q, %v", got, err)
	}
}

// TestExtensionResponse: the response is an answer to what was offered, as RFC
// 7692 section 7.1 has it, and can itself be parsed as an offer.
func TestExtensionResponse(t *testing.T) {
	for _, line := range append(acceptWindow[:], acceptDeflate) {
		value, ok := strings.CutPrefix(line, "Sec-WebSocket-Extensions: ")
		if !ok || !strings.HasSuffix(value, "\r\n") {
			t.Fatalf("%q", line)
		}
		if got, err := acceptExtensions(offerRequest(t, value)); got != line || err != nil {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

// TestSmallWindowsDeclined: who does not keep to MaxWindow is asked for nothing below
// 32 KiB.
func TestSmallWindowsDeclined(t *testing.T) {
	for _, c := range []struct{ fields, want string }{
		{"permessage-deflate; server_max_window_bits=14", ""},
		{"permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=15", acceptWindow[7]},
		{"permessage-deflate; server_max_window_bits=8 | permessage-deflate", acceptDeflate},
	} {
		var x Extensions
		got, err := accept(offerRequest(t, c.fields), &x)
		if got != c.want || err != nil || x.MaxWindow() != 32_768 {
			t.Errorf("%s: %q, %v, a window of %d", c.fields, got, err, x.MaxWindow())
		}
	}
}

// TestSmallWindows: what MaxWindow allows to be compressed refers no further back
// than the window that the peer keeps (RFC 7692 section 7.1.2.1); the negotiation
// need not choose an encoder.
func TestSmallWindows(t *testing.T) {
	for i, line := range acceptWindow {
		x := Extensions{SmallWindows: true}
		if _, err := accept(offerRequest(t, strings.TrimPrefix(line, "Sec-WebSocket-Extensions: ")), &x); err != nil {
			t.Fatal(err)
		}
		window := x.MaxWindow()
		if window != 1<<(8+i) {
			t.Fatalf("%q: %d", line, window)
		}
		// A match over the whole of a message, behind content that matches nothing.
		content := chatMessages(window)
		copy(content[window-20:], content[:20])
		for _, level := range []int{-2, 1, 2, 3, 4, 5, 6, 7, 8, 9} {
			for _, n := range []int{window / 3, window} {
				for range 2 { // nor to a message before
					frame := AppendDeflatedFrame(nil, content[:n], true, level)
					compressed := frame[map[byte]int{126: 4, 127: 10}[frame[1]]:]
					if frame[1] < 126 {
						compressed = frame[2:]
					}
					most, out := longestDistance(t, append(compressed, inflateEnd...))
					if most > window || out != n {
						t.Fatalf("window %d, level %d: %d bytes refer %d back, of %d", window, level, out, most, n)
					}
					if n >= 1024 && level == 1 && most == 0 {
						t.Fatal("nothing refers back: the test shows nothing")
					}
				}
			}
		}
	}
	// The check sees what is too far.
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 9)
	far := chatMessages(3000)
	_, _ = w.Write(append(far, far[:100]...))
	_ = w.Close()
	if most, out := longestDistance(t, buf.Bytes()); most < 2900 || out != 3100 {
		t.Fatalf("%d, %d", most, out)
	}
}

// longestDistance reads a DEFLATE stream (RFC 1951) and returns how far it refers
// back at most, and how many bytes come out.
func longestDistance(t *testing.T, b []byte) (most, out int) {
	t.Helper()
	pos := 0
	bits := func(n int) (v int) {
		for i := range n {
			if pos >= 8*len(b) {
				t.Fatal("the stream has no end")
			}
			v |= int(b[pos/8]>>(pos%8)&1) << i
			pos++
		}
		return v
	}
	codes := func(lengths []int) map[[2]int]int { // length and code -> symbol
		m, code := map[[2]int]int{}, 0
		for n := 1; n <= 15; n++ {
			for s, l := range lengths {
				if l == n {
					m[[2]int{n, code}] = s
					code++
				}
			}
			code <<= 1
		}
		return m
	}
	symbol := func(m map[[2]int]int) int {
		code := 0
		for n := 1; n <= 15; n++ {
			code = code<<1 | bits(1)
			if s, ok := m[[2]int{n, code}]; ok {
				return s
			}
		}
		t.Fatal("no such code")
		return 0
	}
	for final := 0; final == 0; {
		final = bits(1)
		var lit, dist map[[2]int]int
		switch bits(2) {
		case 0:
			pos = (pos + 7) &^ 7
			n := bits(16)
			pos += 16 + 8*n
			out += n
			continue
		case 1:
			lengths := make([]int, 288)
			for i := range lengths {
				lengths[i] = 8
				switch {
				case i >= 144 && i < 256:
					lengths[i] = 9
				case i >= 256 && i < 280:
					lengths[i] = 7
				}
			}
			lit, dist = codes(lengths), codes(repeated(5, 30))
		case 2:
			nlit, ndist, nlen := 257+bits(5), 1+bits(5), 4+bits(4)
			lens := make([]int, 19)
			for _, s := range codeLengthOrder[:nlen] {
				lens[s] = bits(3)
			}
			m := codes(lens)
			var all []int
			for len(all) < nlit+ndist {
				switch s := symbol(m); s {
				case 16:
					all = append(all, repeated(all[len(all)-1], 3+bits(2))...)
				case 17:
					all = append(all, make([]int, 3+bits(3))...)
				case 18:
					all = append(all, make([]int, 11+bits(7))...)
				default:
					all = append(all, s)
				}
			}
			lit, dist = codes(all[:nlit]), codes(all[nlit:])
		default:
			t.Fatal("a reserved type of block")
		}
		for {
			s := symbol(lit)
			if s < 256 {
				out++
				continue
			}
			if s == 256 {
				break
			}
			switch s -= 257; {
			case s == 28:
				out += 258
			case s < 8:
				out += 3 + s
			default:
				extra := s/4 - 1
				out += 3 + (4+s%4)<<extra + bits(extra)
			}
			d := symbol(dist)
			back := 1 + d
			if d >= 4 {
				extra := d/2 - 1
				back = 1 + (2+d%2)<<extra + bits(extra)
			}
			most = max(most, back)
		}
	}
	return most, out
}

func repeated(v, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestExtensionAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	for _, fields := range []string{
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate",
		"permessage-deflate; client_max_window_bits=10;",
	} {
		r := offerRequest(t, fields)
		if n := testing.AllocsPerRun(100, func() { _, _ = acceptExtensions(r) }); n != 0 {
			t.Errorf("%s: %v allocations", fields, n)
		}
	}
}
