package eio_test

import (
	"bytes"
	"testing"

	"github.com/sockeye-io/sockeye/proto/eio"
)

// TestPayloadV3 reads both forms, and writes what it has read.
func TestPayloadV3(t *testing.T) {
	for _, form := range []struct {
		file    string
		consume func([]byte) (eio.Packet, int, error)
		append  func([]byte, eio.Packet) []byte
	}{
		{"payloads_v3.txt", eio.ConsumePayloadV3, eio.AppendPayloadV3},
		{"payloads_v3_binary.txt", eio.ConsumeBinaryPayloadV3, eio.AppendBinaryPayloadV3},
	} {
		load(t, form.file, func(input []byte, want []result) {
			rest := bytes.Clone(input)
			var again []byte
			for i, w := range want {
				p, n, err := form.consume(rest)
				check(t, input, p, err, w)
				if err != nil {
					return
				}
				again = form.append(again, p)
				if rest = rest[n:]; len(rest) == 0 && i < len(want)-1 {
					t.Fatalf("%q: %d packets, want %d", input, i+1, len(want))
				}
			}
			if len(rest) > 0 || !bytes.Equal(again, input) {
				t.Errorf("%q: %q is left; written %q", input, rest, again)
			}
		})
	}
}

// Engine.IO v3, "Packet encoding": binary on a WebSocket.
func TestBinaryPacketV3(t *testing.T) {
	p, err := eio.ConsumeBinaryPacketV3([]byte{4, 1, 2})
	if err != nil || !p.Binary || p.Type != eio.Message || !bytes.Equal(p.Data, []byte{1, 2}) {
		t.Errorf("%+v, %v", p, err)
	}
	if got := eio.AppendBinaryPacketV3(nil, p); !bytes.Equal(got, []byte{4, 1, 2}) {
		t.Errorf("%v", got)
	}
	for _, b := range [][]byte{nil, {2}, {'4', 1}} {
		if _, err := eio.ConsumeBinaryPacketV3(b); err == nil {
			t.Errorf("%v was taken", b)
		}
	}
}

func TestJSONP(t *testing.T) {
	for in, want := range map[string]string{
		"4hello":                  `___eio[3]("4hello");`,
		`42["a\"b\\"]`:            `___eio[3]("42[\"a\\\"b\\\\\"]");`,
		"a\nb\r\x00\u2028\u2029é": `___eio[3]("a\nb\u000d\u0000\u2028\u2029é");`,
		`</script>`:               `___eio[3]("\u003c/script>");`,
		"\xff":                    "___eio[3](\"\ufffd\");",
	} {
		if got := string(eio.AppendJSONP(nil, []byte("3"), []byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"d=4hello": "4hello", "x=1&d=4%E2%82%AC+x": "4€ x", `d=4a%5Cnb`: "4a\nb", `d=4a%5C%5Cnb`: `4a\nb`, "d=": "",
	} {
		if got, err := eio.ConsumeJSONP([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "4hello", "d=%zz", "dd=4"} {
		if got, err := eio.ConsumeJSONP([]byte(in)); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}
