package sio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/proto/sio"
)

var types = map[string]sio.PacketType{
	"connect": sio.Connect, "disconnect": sio.Disconnect, "event": sio.Event, "ack": sio.Ack,
	"connect_error": sio.ConnectError, "binary_event": sio.BinaryEvent, "binary_ack": sio.BinaryAck,
}

var faults = map[string]error{
	"type": sio.ErrPacketType, "attachments": sio.ErrAttachments, "namespace": sio.ErrNamespace, "id": sio.ErrID,
	"json": sio.ErrJSON, "depth": sio.ErrDepth, "utf8": sio.ErrUTF8, "name": sio.ErrEventName, "placeholder": sio.ErrPlaceholder,
}

// vector is a line of testdata: an input, and the fields that say what comes of it.
type vector struct {
	t      *testing.T
	input  []byte
	fields []string // quoted ones still are
}

func load(t *testing.T, file string, each func(v vector)) {
	t.Helper()
	vectors.Lines(t, "testdata/"+file, func(line string) {
		v := vector{t: t}
		for line != "" {
			field, err := strconv.QuotedPrefix(line)
			if err != nil {
				field, _, _ = strings.Cut(line, " ")
			}
			v.fields = append(v.fields, field)
			line = strings.TrimSpace(line[len(field):])
		}
		v.input = v.unquote(v.fields[0])
		v.fields = v.fields[1:]
		each(v)
	})
}

func (v *vector) unquote(field string) []byte {
	s, err := strconv.Unquote(field)
	if err != nil {
		v.t.Fatalf("%s: %v", field, err)
	}
	return []byte(s)
}

// fails tells whether an error is wanted, and checks that it came.
func (v *vector) fails(err error) bool {
	v.t.Helper()
	want := faults[v.fields[0]]
	if want == nil {
		if err != nil {
			v.t.Errorf("%q: %v", v.input, err)
		}
		return err != nil
	}
	var syntax *sio.SyntaxError
	if !errors.As(err, &syntax) || !errors.Is(err, want) || strconv.Itoa(syntax.Offset) != v.fields[1] {
		v.t.Errorf("%q: %v, want %v at byte %s", v.input, err, want, v.fields[1])
	}
	return true
}

// packet is the one that the fields describe.
func (v *vector) packet() sio.Packet {
	typ, ok := types[v.fields[0]]
	if !ok {
		v.t.Fatalf("%q", v.fields[0])
	}
	p := sio.Packet{Type: typ, Namespace: []byte("/")}
	for i := 1; i < len(v.fields); i++ {
		f := v.fields[i]
		switch key, value, _ := strings.Cut(f, "="); {
		case f[0] == '"':
			p.Namespace = v.unquote(f)
		case key == "id":
			p.HasID = true
			p.ID, _ = strconv.ParseUint(value, 10, 64)
		case key == "attachments":
			p.Attachments, _ = strconv.Atoi(value)
		case key == "data":
			i++
			p.Data = v.unquote(v.fields[i])
		default:
			v.t.Fatalf("%q", f)
		}
	}
	return p
}

func TestConsumePacket(t *testing.T) {
	limits := sio.Limits{MaxNamespace: 16}
	load(t, "packets.txt", func(v vector) {
		got, err := limits.ConsumePacket(v.input)
		if !v.fails(err) {
			if want := v.packet(); !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %+v, want %+v", v.input, got, want)
			}
		}
	})
}

// TestAppendHeader: what the vectors say is written as it stands in them, in so
// far as the reference writes it so.
func TestAppendHeader(t *testing.T) {
	load(t, "packets.txt", func(v vector) {
		if faults[v.fields[0]] != nil {
			return
		}
		p := v.packet()
		got := append(sio.AppendHeader([]byte("x"), p), p.Data...)
		again, err := sio.Limits{}.ConsumePacket(got[1:])
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q: written %q, which reads as %+v, %v", v.input, got[1:], again, err)
		}
		plain := !bytes.Contains(v.input, []byte("/,")) && !bytes.HasPrefix(v.input, []byte("200")) && string(v.input) != "0/admin"
		if plain && string(got[1:]) != string(v.input) {
			t.Errorf("%q: written %q", v.input, got[1:])
		}
	})
}

func TestLimits(t *testing.T) {
	none := sio.Limits{MaxAttachments: -1, MaxNamespace: -1}
	for _, in := range []string{`51-["a"]`, `0/a,`} {
		if _, err := none.ConsumePacket([]byte(in)); err == nil {
			t.Errorf("%s was taken", in)
		}
	}
	if _, err := none.ConsumePacket([]byte(`0{}`)); err != nil {
		t.Error(err)
	}
	long := "0/" + strings.Repeat("a", 255)
	if _, err := (sio.Limits{}).ConsumePacket([]byte(long)); err != nil {
		t.Error(err)
	}
	if _, err := (sio.Limits{}).ConsumePacket([]byte(long + "a")); err == nil {
		t.Error("a namespace over the default limit was taken")
	}
}

func TestValid(t *testing.T) {
	load(t, "json.txt", func(v vector) {
		v.fails(sio.Valid(v.input, 4))
		if want := faults[v.fields[0]]; want == nil || want == sio.ErrJSON {
			if got := json.Valid(v.input); got != (want == nil) {
				t.Errorf("%q: encoding/json says %v", v.input, got)
			}
		}
	})
}

func TestDepth(t *testing.T) {
	for _, c := range []struct {
		depth, max int
		ok         bool
	}{
		{512, 0, true},
		{513, 0, false},
		{512, 9999, true},
		{513, 9999, false},
		{3, 3, true},
		{4, 3, false},
		{5000, 0, false},
		{1_000_000, 512, false},
		{65, 64, false},
		{64, 64, true},
	} {
		for _, pair := range []string{`[]`, `{}`} {
			b := []byte(strings.Repeat(`[`, c.depth-1) + pair + strings.Repeat(`]`, c.depth-1))
			if pair == `{}` {
				b = []byte(strings.Repeat(`{"a":`, c.depth-1) + pair + strings.Repeat(`}`, c.depth-1))
			}
			if err := sio.Valid(b, c.max); (err == nil) != c.ok || err != nil && !errors.Is(err, sio.ErrDepth) {
				t.Errorf("%s %d deep, limit %d: %v", pair, c.depth, c.max, err)
			}
		}
	}
}

func TestScanObject(t *testing.T) {
	for in, ok := range map[string]bool{`{}`: true, ` {"a":1} `: true, `[]`: false, `"a"`: false, ``: false, `{`: false, `{}x`: false, `null`: false} {
		if err := sio.ScanObject([]byte(in), 0); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSplitArray(t *testing.T) {
	for in, want := range map[string]string{
		`[]`: ``, ` [ ] `: ``, `["a"]`: `"a"`, `[1, {"a":[1,2]} ,null]`: `1|{"a":[1,2]}|null`, `["a,b","]"]`: `"a,b"|"]"`,
	} {
		got, err := sio.SplitArray([]byte(in), nil, 0)
		if err != nil || string(bytes.Join(got, []byte("|"))) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{``, `{}`, `"a"`, `[`, `[1`, `[1,`, `[1,]`, `[1]x`, `[]]`, `[[]`, "[\"\xff\"]"} {
		if got, err := sio.SplitArray([]byte(in), nil, 0); err == nil || got != nil {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if _, err := sio.SplitArray([]byte(`[[[]]]`), nil, 2); !errors.Is(err, sio.ErrDepth) {
		t.Errorf("the outer array does not count: %v", err)
	}
	if _, err := sio.SplitArray([]byte(`[[]]`), nil, 2); err != nil {
		t.Error(err)
	}
}

// TestSplitArrayLimit: so many arguments, and not one more.
func TestSplitArrayLimit(t *testing.T) {
	array := func(n int) []byte { return []byte("[" + strings.Repeat("0,", n-1) + "0]") }
	if got, err := sio.SplitArray(array(sio.MaxArguments), nil, 0); err != nil || len(got) != sio.MaxArguments {
		t.Errorf("%d elements, %v", len(got), err)
	}
	var syntax *sio.SyntaxError
	got, err := sio.SplitArray(array(sio.MaxArguments+1), nil, 0)
	if got != nil || !errors.Is(err, sio.ErrArguments) || !errors.As(err, &syntax) || syntax.Offset != 1+2*sio.MaxArguments {
		t.Errorf("%d elements, %v", len(got), err)
	}
	if got, err := sio.SplitArray(array(sio.MaxArguments), make([][]byte, 1), 0); err != nil || len(got) != 1+sio.MaxArguments {
		t.Errorf("what dst has counts: %d, %v", len(got), err)
	}
}

// Socket.IO v5, "Sending and receiving data".
func TestEventName(t *testing.T) {
	for in, want := range map[string]string{`"foo"`: "foo", `""`: "", `"a\nb"`: "a\nb", `"\u0063onnect"`: "connect", `12`: "12", `-1.5e3`: "-1.5e3"} {
		if got, err := sio.EventName([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{``, `null`, `true`, `{}`, `[]`, `"a`} {
		if got, err := sio.EventName([]byte(in)); !errors.Is(err, sio.ErrEventName) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for name, want := range map[string]bool{"connect": true, "disconnecting": true, "newListener": true, "message": false, "Connect": false, "": false} {
		if sio.IsReserved([]byte(name)) != want {
			t.Errorf("%q", name)
		}
	}
}

// TestUnquote compares with encoding/json.
func TestUnquote(t *testing.T) {
	for _, in := range []string{
		`""`, `"abc"`, `"\"\\\/\b\f\n\r\t"`, `"\u00e9\u20AC"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`,
		`"\ud83d\u0041"`, `"\ud83dx"`, `"\ud83d\ud83d\ude00"`, `"é€😀"`, `"a\u0000b"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(in), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := sio.Unquote([]byte("x"), []byte(in)); err != nil || string(got) != "x"+want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{``, `"`, `a`, `"a`, `"a"b`, `"\x"`, `"\u12"`, "\"\xff\"", "\"\n\""} {
		if got, err := sio.Unquote(nil, []byte(in)); err == nil || got != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	attachments := [][]byte{{1}, {2, 3}}
	load(t, "placeholders.txt", func(v vector) {
		if check := sio.CheckPlaceholders(v.input, len(attachments)); (check == nil) != (faults[v.fields[0]] == nil) {
			t.Errorf("%q: checked with %v", v.input, check)
		}
		got, err := sio.AppendResolved([]byte("x"), v.input, attachments)
		if v.fails(err) {
			if got != nil {
				t.Errorf("%q: %q with an error", v.input, got)
			}
			return
		}
		if want := v.unquote(v.fields[0]); string(got) != "x"+string(want) {
			t.Errorf("%q: %s, want %s", v.input, got[1:], want)
		}
	})
}

func TestManyPlaceholders(t *testing.T) {
	const n = 300 // more than any table on the stack
	b := []byte{'['}
	var attachments [][]byte
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = sio.AppendPlaceholder(b, n-1-i)
		attachments = append(attachments, []byte{byte(i), byte(i >> 8)})
	}
	b = append(b, ']')
	got, err := sio.AppendResolved(nil, b, attachments)
	var values [][]byte
	if err != nil || json.Unmarshal(got, &values) != nil || len(values) != n {
		t.Fatalf("%d values, %v", len(values), err)
	}
	for i, v := range values {
		if !bytes.Equal(v, attachments[n-1-i]) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
	if err := sio.CheckPlaceholders(b, n-1); !errors.Is(err, sio.ErrPlaceholder) {
		t.Error(err)
	}
}

func TestIsPlaceholder(t *testing.T) {
	for in, want := range map[string]int{
		`{"_placeholder":true,"num":3}`: 3, `{"_placeholder":true}`: -1,
		`{"a":{"_placeholder":true,"num":3}}`: -2, `[{"_placeholder":true,"num":3}]`: -2, `"x"`: -2, ``: -2, `{}`: -2,
	} {
		num, ok := sio.IsPlaceholder([]byte(in))
		if ok != (want > -2) || ok && num != want {
			t.Errorf("%s: %d, %v", in, num, ok)
		}
	}
}

func TestAppendRenumbered(t *testing.T) {
	in := []byte(`["a",{"num":1,"_placeholder":true},[{"_placeholder":true,"num":0}]]`)
	got, err := sio.AppendRenumbered(nil, in, func(n int) (int, bool) { return n + 5, true })
	if want := `["a",{"_placeholder":true,"num":6},[{"_placeholder":true,"num":5}]]`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	var syntax *sio.SyntaxError
	_, err = sio.AppendRenumbered(nil, in, func(n int) (int, bool) { return n, n == 1 })
	if !errors.As(err, &syntax) || syntax.Err != sio.ErrPlaceholder || syntax.Offset != bytes.IndexByte(in, '[')+36 {
		t.Error(err)
	}
}

// TestDeepJSONDoesNotRecurse: what the scanner lets through is walked without a
// stack of its depth.
func TestDeepJSONDoesNotRecurse(t *testing.T) {
	deep := []byte(strings.Repeat(`[`, 1<<20))
	if err := sio.Valid(deep, 0); !errors.Is(err, sio.ErrDepth) {
		t.Error(err)
	}
	in := []byte(strings.Repeat(`[`, 511) + `{"_placeholder":true,"num":0}` + strings.Repeat(`]`, 511))
	if got, err := sio.AppendResolved(nil, in, [][]byte{{1}}); err != nil || !bytes.Contains(got, []byte(`["AQ=="]`)) {
		t.Error(err)
	}
}

// TestAllocs: neither reading nor writing a text event allocates, nor do
// placeholders.
func TestAllocs(t *testing.T) {
	event := []byte(`2/admin,12["message",{"text":"hé llo","n":[1,2.5,null]},true]`)
	bin := []byte(`["a",{"_placeholder":true,"num":0}]`)
	attachments := [][]byte{make([]byte, 30)}
	args, buf := make([][]byte, 0, 8), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		p, err := sio.Limits{}.ConsumePacket(event)
		if err != nil {
			t.Fatal(err)
		}
		args, err = sio.SplitArray(p.Data, args[:0], 0)
		if err != nil || len(args) != 3 {
			t.Fatal(err)
		}
		name, err := sio.EventName(args[0])
		if err != nil || sio.IsReserved(name) {
			t.Fatal(err)
		}
		buf = append(sio.AppendHeader(buf[:0], p), p.Data...)
		if buf, err = sio.AppendResolved(buf[:0], bin, attachments); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkValid(b *testing.B) {
	for name, text := range map[string]string{
		"ascii": `["message",{"text":"` + strings.Repeat("plain text ", 50) + `","n":[1,2.5,null,true]}]`,
		"greek": `["message",{"text":"` + strings.Repeat("Ελληνικά ", 50) + `","n":[1,2.5,null,true]}]`,
	} {
		b.Run(name, func(b *testing.B) {
			in := []byte(text)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if err := sio.Valid(in, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
