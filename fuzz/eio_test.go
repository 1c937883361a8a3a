package fuzz

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/proto/eio"
)

// FuzzEIOPacket: what is accepted is encoded back to the same packet.
func FuzzEIOPacket(f *testing.F) {
	for _, s := range []string{"2probe", "4hello", "bAQIDBA==", "0{}", "", "7", "b!"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := eio.ConsumePacket(bytes.Clone(b))
		if err != nil {
			return
		}
		text := eio.AppendPacket(nil, p)
		again, err := eio.ConsumePacket(bytes.Clone(text))
		if err != nil || again.Type != p.Type || again.Binary != p.Binary || !bytes.Equal(again.Data, p.Data) {
			t.Errorf("%q is %v, encoded %q, which is %v, %v", b, p, text, again, err)
		}
	})
}

// FuzzEIOPayload: reading goes on until the end or an error, and what is read
// is what a splitting at the separators gives.
func FuzzEIOPayload(f *testing.F) {
	f.Add([]byte("4hello\x1e4world\x1ebAQID"))
	f.Add([]byte("\x1e\x1e\x1e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records := bytes.Split(b, []byte{eio.Separator})
		for rest := bytes.Clone(b); len(rest) > 0; records = records[1:] {
			p, n, err := eio.ConsumePayload(rest)
			want, wantErr := eio.ConsumePacket(bytes.Clone(records[0]))
			if n <= 0 || n > len(rest) {
				t.Fatalf("n is %d of %d", n, len(rest))
			}
			if err != nil {
				return
			}
			if wantErr != nil || p.Type != want.Type || !bytes.Equal(p.Data, want.Data) {
				t.Fatalf("record %q: %v, want %v, %v", records[0], p, want, wantErr)
			}
			rest = rest[n:]
		}
	})
}

// FuzzEIOPayloadV3: a payload of version 3 that is accepted is written back as
// one that says the same, in both forms.
func FuzzEIOPayloadV3(f *testing.F) {
	for _, s := range []string{"6:4hello2:4€", "6:b4AQID3:4😀", "\x00\x02\xff4a\x01\x03\xff\x04\x08\x09", "0:", "99999:4"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	type form struct {
		consume func([]byte) (eio.Packet, int, error)
		append  func([]byte, eio.Packet) []byte
	}
	forms := map[bool]form{
		false: {eio.ConsumePayloadV3, eio.AppendPayloadV3},
		true:  {eio.ConsumeBinaryPayloadV3, eio.AppendBinaryPayloadV3},
	}
	f.Fuzz(func(t *testing.T, b []byte, binary bool) {
		x := forms[binary]
		for rest := bytes.Clone(b); len(rest) > 0; {
			p, n, err := x.consume(rest)
			if n <= 0 || n > len(rest) {
				t.Fatalf("%q: %d bytes were consumed", b, n)
			}
			if err != nil {
				return
			}
			rest = rest[n:]
			if !binary && !utf8.Valid(p.Data) && !p.Binary {
				return // lengths count characters
			}
			again, _, err := x.consume(x.append(nil, p))
			if err != nil || again.Type != p.Type || again.Binary != p.Binary || !bytes.Equal(again.Data, p.Data) {
				t.Fatalf("%q: %+v became %+v, %v", b, p, again, err)
			}
		}
	})
}
