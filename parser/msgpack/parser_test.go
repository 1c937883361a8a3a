package msgpack_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser/msgpack"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// unhex reads bytes; spaces are for people.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What socket.io-msgpack-parser 3.0.2 and python-socketio 5.18.1 write.
func TestConsume(t *testing.T) {
	var p msgpack.Parser
	for _, c := range []struct {
		name, in string
		want     sio.Packet
	}{
		{"CONNECT without auth: data is undefined", "83 a474797065 00 a464617461 d40000 a36e7370 a12f", sio.Packet{Type: sio.Connect, Namespace: []byte("/")}},
		{"CONNECT with auth", "83 a474797065 00 a464617461 81a16b01 a36e7370 a22f61", sio.Packet{Type: sio.Connect, Namespace: []byte("/a"), Data: unhex(t, "81a16b01")}},
		{"DISCONNECT", "82 a474797065 01 a36e7370 a12f", sio.Packet{Type: sio.Disconnect, Namespace: []byte("/")}},
		{"EVENT with options", "84 a474797065 02 a464617461 92a1780a a76f7074696f6e73 81a8636f6d7072657373c3 a36e7370 a12f", sio.Packet{Type: sio.Event, Namespace: []byte("/"), Data: unhex(t, "92a1780a")}},
		{"EVENT of Python, with id", "84 a474797065 02 a464617461 91a178 a36e7370 a12f a26964 03", sio.Packet{Type: sio.Event, Namespace: []byte("/"), ID: 3, HasID: true, Data: unhex(t, "91a178")}},
		{"ACK with a large id, keys in another order", "84 a36e7370 a12f a26964 ce00010000 a474797065 03 a464617461 90", sio.Packet{Type: sio.Ack, Namespace: []byte("/"), ID: 65536, HasID: true, Data: unhex(t, "90")}},
		{"id is nil", "84 a474797065 02 a464617461 91a178 a36e7370 a12f a26964 c0", sio.Packet{Type: sio.Event, Namespace: []byte("/"), Data: unhex(t, "91a178")}},
	} {
		got, err := p.Consume(unhex(t, c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		// Cut anywhere it is an error.
		in := unhex(t, c.in)
		for i := range in {
			if _, err := p.Consume(in[:i]); err == nil {
				t.Errorf("%s: accepted cut at %d", c.name, i)
			}
		}
	}
	event := func(n int) []byte { // with n arguments and a name
		b := unhex(t, "83 a474797065 02 a36e7370 a12f a464617461 dd 0000")
		return append(append(b, byte((n+1)>>8), byte(n+1), 0xa1, 'x'), make([]byte, n)...)
	}
	if _, err := p.Consume(event(sio.MaxArguments - 1)); err != nil {
		t.Error(err)
	}
	if _, err := p.Consume(event(sio.MaxArguments)); err == nil {
		t.Error("an event has more than sio.MaxArguments elements")
	}
	for name, in := range map[string]string{
		"no map":             "93 01 02 03",
		"no type":            "81 a36e7370 a12f",
		"type 5":             "83 a474797065 05 a464617461 90 a36e7370 a12f",
		"type is a string":   "83 a474797065 a132 a464617461 90 a36e7370 a12f",
		"type is large":      "83 a474797065 cc02 a464617461 90 a36e7370 a12f",
		"nsp is a number":    "83 a474797065 02 a464617461 90 a36e7370 07",
		"nsp is empty":       "83 a474797065 02 a464617461 90 a36e7370 a0",
		"event is a map":     "83 a474797065 02 a464617461 80 a36e7370 a12f",
		"event without data": "82 a474797065 02 a36e7370 a12f",
		"auth is an array":   "83 a474797065 00 a464617461 90 a36e7370 a12f",
		"negative id":        "84 a474797065 02 a464617461 91a178 a36e7370 a12f a26964 a1 31",
		"something behind":   "82 a474797065 01 a36e7370 a12f 00",
		"0xc1":               "83 a474797065 02 a464617461 91c1 a36e7370 a12f",
		"huge lengths":       "83 a474797065 02 a464617461 ddffffffff a36e7370 a12f",
		"huge map":           "dfffffffff",
		"key is a number":    "81 01 01",
	} {
		if got, err := p.Consume(unhex(t, in)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAppend(t *testing.T) {
	var p msgpack.Parser
	for _, c := range []struct {
		h    sio.Packet
		data any
		want string
	}{
		{sio.Packet{Type: sio.Event, Namespace: []byte("/")}, []any{"x", 10}, "83 a474797065 02 a464617461 92a1780a a36e7370 a12f"},
		{sio.Packet{Type: sio.Event, Namespace: []byte("/a"), HasID: true, ID: 200}, []any{"x"}, "84 a474797065 02 a464617461 91a178 a36e7370 a22f61 a26964 ccc8"},
		{sio.Packet{Type: sio.Ack, Namespace: []byte("/"), HasID: true}, []any{}, "84 a474797065 03 a464617461 90 a36e7370 a12f a26964 00"},
		{sio.Packet{Type: sio.Disconnect, Namespace: []byte("/")}, nil, "82 a474797065 01 a36e7370 a12f"},
		{sio.Packet{Type: sio.Event, Namespace: []byte("/")}, []any{"b", []byte{1, 2}, map[string]any{"d": []byte{3}}}, "83 a474797065 02 a464617461 93 a162 c4020102 81a164c40103 a36e7370 a12f"},
	} {
		got, err := p.Append([]byte("x"), c.h, c.data)
		if err != nil || !bytes.Equal(got[1:], unhex(t, c.want)) {
			t.Errorf("%+v %v: %x, %v", c.h, c.data, got, err)
		}
	}
	if _, err := p.Append(nil, sio.Packet{}, []any{func() {}}); err == nil {
		t.Error("a function was encoded")
	}
	at := time.UnixMilli(1_700_000_000_123)
	for dates, want := range map[bool]string{false: "b8" + hex.EncodeToString([]byte("2023-11-14T22:13:20.123Z")), true: "d700 0000018bcfe5687b"} {
		got, err := msgpack.Parser{Dates: dates}.Append(nil, sio.Packet{}, []any{at})
		if err != nil || !bytes.Contains(got, unhex(t, want)) {
			t.Errorf("dates %v: %x, %v", dates, got, err)
		}
	}
}

// What JavaScript's notepack.io writes for values that are its own.
func TestUnmarshal(t *testing.T) {
	var p msgpack.Parser
	for _, c := range []struct {
		in   string
		want any
	}{
		{"d40000", nil},
		{"d700 0000018bcfe5687b", time.UnixMilli(1_700_000_000_123)},
		{"c70300 010203", []byte{1, 2, 3}},
		{"c8000300 010203", []byte{1, 2, 3}},
		{"c70800 0000018bcfe5687b", []byte{0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b}}, // a Date has the code d7
		{"c70100 00", []byte{0}},                                                   // undefined has the code d4
		{"d505 0102", []any{int64(5), []byte{1, 2}}},
		{"92 d40000 81a161c4020102", []any{nil, map[string]any{"a": []byte{1, 2}}}},
		{"cf 0000000100000000", int64(1 << 32)},
		{"cb 3ff8000000000000", 1.5},
		{"a3e282ac", "€"},
	} {
		var got any
		err := p.Unmarshal(unhex(t, c.in), &got)
		if at, ok := got.(time.Time); ok {
			if !at.Equal(c.want.(time.Time)) {
				t.Errorf("%s: %v", c.in, at)
			}
			continue
		}
		if u, ok := got.(uint64); ok && u <= math.MaxInt64 {
			got = int64(u)
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v", c.in, got, err)
		}
	}
	var typed struct {
		Name string `json:"name"`
		N    int
		At   time.Time `json:"at"`
	}
	if err := p.Unmarshal(unhex(t, "83 a46e616d65a161 a14e07 a26174 d700 0000018bcfe5687b"), &typed); err != nil || typed.Name != "a" || typed.N != 7 || typed.At.UnixMilli() != 1_700_000_000_123 {
		t.Errorf("%+v, %v", typed, err)
	}
	deep := append(bytes.Repeat([]byte{0x91}, 513), 0)
	var v any
	if err := p.Unmarshal(deep, &v); err == nil {
		t.Error("513 levels were accepted")
	}
	if err := p.Unmarshal(deep[1:], &v); err != nil {
		t.Errorf("512 levels: %v", err)
	}
	if err := p.Unmarshal(append(bytes.Repeat([]byte{0x91}, 1<<20), 0), &v); err == nil {
		t.Error("a million levels were accepted")
	}
}

func TestEventName(t *testing.T) {
	var p msgpack.Parser
	for in, want := range map[string]string{"a178": "x", "d90178": "x", "07": "7", "ff": "-1"} {
		if got, err := p.EventName(unhex(t, in)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "c0", "c3", "90", "80", "c40178", "d90278"} {
		if got, err := p.EventName(unhex(t, in)); err == nil {
			t.Errorf("%s: %q", in, got)
		}
	}
}

// FuzzConsume: what is accepted can be split and decoded, and nothing panics.
func FuzzConsume(f *testing.F) {
	for _, s := range []string{"83a47479706502a46461746192a1780aa36e7370a12f", "83a47479706500a464617461d40000a36e7370a12f", "dfffffffff", "84a47479706503a46461746190a36e7370a12fa26964cc80"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p msgpack.Parser
		packet, err := p.Consume(b)
		if err != nil || packet.Data == nil || packet.Type != sio.Event {
			return
		}
		list, err := p.Split(packet.Data, nil)
		if err != nil {
			t.Fatalf("%x was accepted, and cannot be split: %v", b, err)
		}
		var args []any
		for _, x := range list {
			var v any
			if p.Unmarshal(x, &v) == nil { // what the library refuses is an error of the argument's
				args = append(args, sockeye.Argument{JSON: x})
			}
		}
		again, err := p.Append(nil, packet, args)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if _, err := p.Consume(again); err != nil {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}

func Example() {
	srv, err := sockeye.New(sockeye.Config{Parser: msgpack.Parser{}})
	if err != nil {
		panic(err)
	}
	srv.On("thumbnail", func(s *sockeye.Socket, image []byte) []byte { return image[:1] }) // binary needs no attachment
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	fmt.Println(addr.Network(), err, srv.Shutdown(context.Background()))
	// Output: tcp <nil> <nil>
}
