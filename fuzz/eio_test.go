package fuzz

import (
	"bytes"
	"testing"

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
