package eio_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/proto/eio"
)

var types = map[string]eio.PacketType{
	"open": eio.Open, "close": eio.Close, "ping": eio.Ping, "pong": eio.Pong,
	"message": eio.Message, "upgrade": eio.Upgrade, "noop": eio.Noop, "binary": eio.Message,
}

var faults = map[string]error{"empty": eio.ErrEmpty, "type": eio.ErrPacketType, "base64": eio.ErrBase64, "length": eio.ErrLength}

// result is a packet, or what is wrong.
type result struct {
	packet eio.Packet
	err    error
	offset int
}

// load reads a file of testdata: inputs, and what is in each.
func load(t *testing.T, file string, each func(input []byte, want []result)) {
	t.Helper()
	vectors.Lines(t, "testdata/"+file, func(line string) {
		quoted := func() []byte {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
			s, _ := strconv.Unquote(q)
			line = strings.TrimSpace(line[len(q):])
			return []byte(s)
		}
		input := quoted()
		var want []result
		for line != "" {
			name, rest, _ := strings.Cut(line, " ")
			line = strings.TrimSpace(rest)
			if fault := faults[name]; fault != nil {
				offset, err := strconv.Atoi(line)
				if err != nil {
					t.Fatal(err)
				}
				line = ""
				want = append(want, result{err: fault, offset: offset})
			} else if typ := types[name]; typ != 0 {
				want = append(want, result{packet: eio.Packet{Type: typ, Binary: name == "binary", Data: quoted()}})
			} else {
				t.Fatalf("%s: %q", file, name)
			}
		}
		each(input, want)
	})
}

func check(t *testing.T, input []byte, got eio.Packet, err error, want result) {
	t.Helper()
	if want.err != nil {
		var syntax *eio.SyntaxError
		if !errors.As(err, &syntax) || !errors.Is(err, want.err) || syntax.Offset != want.offset {
			t.Errorf("%q: %v, want %v at byte %d", input, err, want.err, want.offset)
		}
		return
	}
	if err != nil || got.Type != want.packet.Type || got.Binary != want.packet.Binary || !bytes.Equal(got.Data, want.packet.Data) {
		t.Errorf("%q: %+v, %v, want %+v", input, got, err, want.packet)
	}
}

func TestConsumePacket(t *testing.T) {
	load(t, "packets.txt", func(input []byte, want []result) {
		got, err := eio.ConsumePacket(bytes.Clone(input))
		check(t, input, got, err, want[0])
	})
}

func TestConsumePayload(t *testing.T) {
	load(t, "payloads.txt", func(input []byte, want []result) {
		rest := bytes.Clone(input)
		for i, w := range want {
			p, n, err := eio.ConsumePayload(rest)
			check(t, input, p, err, w)
			if err != nil {
				return
			}
			if rest = rest[n:]; len(rest) == 0 && i < len(want)-1 {
				t.Fatalf("%q: %d packets, want %d", input, i+1, len(want))
			}
		}
		if len(rest) > 0 {
			t.Errorf("%q: %q is left", input, rest)
		}
	})
}

// TestAppendPacket: what is appended is read as what it was, and is what stands
// in the vectors, base64 of another form than ours apart.
func TestAppendPacket(t *testing.T) {
	load(t, "packets.txt", func(input []byte, want []result) {
		if want[0].err != nil {
			return
		}
		if text, ok := bytes.CutPrefix(input, []byte("b")); ok {
			if data, err := base64.StdEncoding.DecodeString(string(text)); err != nil || base64.StdEncoding.EncodeToString(data) != string(text) {
				return
			}
		}
		if got := eio.AppendPacket([]byte("x"), want[0].packet); string(got) != "x"+string(input) {
			t.Errorf("%+v: %q, want %q", want[0].packet, got[1:], input)
		}
	})
}

// TestBase64InPlace decodes lengths of every remainder, with line breaks as
// engine.io-client-java has them, over the text that they are read from.
func TestBase64InPlace(t *testing.T) {
	data := make([]byte, 700)
	for i := range data {
		data[i] = byte(i*7 + i>>3)
	}
	for n := range data {
		text := base64.StdEncoding.EncodeToString(data[:n])
		var lines []byte
		for i := 0; i < len(text); i += 76 {
			lines = append(append(lines, text[i:min(i+76, len(text))]...), '\n')
		}
		for _, body := range []string{text, string(lines)} {
			p, err := eio.ConsumePacket([]byte("b" + body))
			if err != nil || !p.Binary || !bytes.Equal(p.Data, data[:n]) {
				t.Fatalf("%d bytes: %v, %q", n, err, p.Data)
			}
		}
	}
}

func TestHandshake(t *testing.T) {
	h := eio.Handshake{
		SID: "lv_VI97HAXpY6yYWAAAB", Upgrades: []string{"websocket"},
		PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 1_000_000,
	}
	// The example of Engine.IO v4, "Handshake".
	const want = `0{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	if got := string(eio.AppendHandshake(nil, h)); got != want {
		t.Errorf("got %s", got)
	}
	for _, upgrades := range [][]string{nil, {"websocket", "webtransport"}} {
		h.Upgrades = upgrades
		var got struct{ Upgrades []string }
		if err := json.Unmarshal(eio.AppendHandshake(nil, h)[1:], &got); err != nil || got.Upgrades == nil || len(got.Upgrades) != len(upgrades) {
			t.Errorf("%q: %q, %v", upgrades, got.Upgrades, err)
		}
	}
}

// TestHandshakeSID: an id of the application's may have any character.
func TestHandshakeSID(t *testing.T) {
	for _, sid := range []string{"id:a/b+c=1", `a"b\c`, "é\n\x01", "lv_VI97HAXpY6yYWAAAB"} {
		var got struct{ SID string }
		if err := json.Unmarshal(eio.AppendHandshake(nil, eio.Handshake{SID: sid})[1:], &got); err != nil || got.SID != sid {
			t.Errorf("%q: %q, %v", sid, got.SID, err)
		}
	}
}

func TestSyntaxErrorTellsWhere(t *testing.T) {
	_, err := eio.ConsumePacket([]byte("9"))
	if err.Error() != "eio: the packet type is unknown at byte 0" {
		t.Error(err)
	}
}

// TestAllocs: neither reading nor writing a packet allocates.
func TestAllocs(t *testing.T) {
	payload := []byte("4hello\x1ebAQIDBA==\x1e2probe")
	buf, scratch := make([]byte, 0, 256), make([]byte, len(payload))
	h := eio.Handshake{SID: "lv_VI97HAXpY6yYWAAAB", Upgrades: []string{"websocket"}, MaxPayload: 1e6}
	if n := testing.AllocsPerRun(100, func() {
		copy(scratch, payload)
		for rest := scratch; len(rest) > 0; {
			p, n, err := eio.ConsumePayload(rest)
			if err != nil {
				t.Fatal(err)
			}
			buf = eio.AppendPacket(buf[:0], p)
			rest = rest[n:]
		}
		buf = eio.AppendHandshake(buf[:0], h)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
