package bench

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

var event = []byte(`2["message","` + strings.Repeat("x", 60) + `",{"a":1,"b":[true,null]}]`)

// BenchmarkDecodeEvent splits an event of about 100 bytes into views.
func BenchmarkDecodeEvent(b *testing.B) {
	var room [8][]byte
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		p, err := sio.Limits{}.ConsumePacket(event)
		if err != nil {
			b.Fatal(err)
		}
		args, err := sio.SplitArray(p.Data, room[:0], 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := sio.EventName(args[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendHeader encodes what stands in front of an event's JSON.
func BenchmarkAppendHeader(b *testing.B) {
	dst := make([]byte, 0, 64)
	p := sio.Packet{Type: sio.Event, Namespace: []byte("/admin"), ID: 12345, HasID: true}
	b.ReportAllocs()
	for b.Loop() {
		dst = sio.AppendHeader(dst[:0], p)
	}
}

// BenchmarkPayload reads a polling payload of 16 records.
func BenchmarkPayload(b *testing.B) {
	payload := []byte(strings.TrimSuffix(strings.Repeat("4"+string(event)+"\x1e", 16), "\x1e"))
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := payload; len(rest) > 0; {
			_, n, err := eio.ConsumePayload(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
}
