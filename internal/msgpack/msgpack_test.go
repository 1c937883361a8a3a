package msgpack_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// unhex reads bytes; spaces are for people, and "-" is none.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "-", "").Replace(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

// vector is a line of testdata/values.txt.
type vector struct {
	line              int
	value             []byte
	json              string
	attachments       [][]byte
	toJSON, fromJSON  bool
	jsonErr, valueErr error
}

var sentinels = map[string]error{
	"short": msgpack.ErrShort, "format": msgpack.ErrFormat, "rest": msgpack.ErrRest,
	"key": msgpack.ErrKey, "placeholder": msgpack.ErrPlaceholder, "number": msgpack.ErrNumber,
	"json": sio.ErrJSON, "attachment": sio.ErrPlaceholder,
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/values.txt")
	if err != nil {
		t.Fatal(err)
	}
	sentinel := func(side string) error {
		if !strings.HasPrefix(side, "!") {
			return nil
		}
		err := sentinels[side[1:]]
		if err == nil {
			t.Fatalf("%q is no error", side)
		}
		return err
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		v := vector{line: i + 1}
		at := strings.IndexAny(line, "=<>") // the second byte of "->" is meant
		if line[at] == '>' {
			at--
		}
		left, op := strings.TrimSpace(line[:at]), line[at:at+2]
		right, attachments, _ := strings.Cut(strings.TrimPrefix(line[at+2:], " "), " ;; ")
		for _, a := range strings.Fields(attachments) {
			v.attachments = append(v.attachments, unhex(t, a))
		}
		v.toJSON, v.fromJSON = op != "<-", op != "->"
		v.json, v.jsonErr, v.valueErr = right, sentinel(right), sentinel(left)
		if v.valueErr == nil {
			v.value = unhex(t, left)
		}
		all = append(all, v)
	}
	return all
}

// TestValues: what the vectors say, and nothing that is cut is accepted.
func TestValues(t *testing.T) {
	for _, v := range vectors(t) {
		if v.toJSON {
			attachments := [][]byte{}
			got, err := msgpack.AppendJSON([]byte("x"), v.value, &attachments)
			if v.jsonErr != nil {
				var syntax *msgpack.SyntaxError
				if !errors.Is(err, v.jsonErr) || !errors.As(err, &syntax) || got != nil || len(attachments) > 0 {
					t.Errorf("line %d: %s, %v", v.line, got, err)
				}
				continue
			}
			if err != nil || string(got) != "x"+v.json || !same(attachments, v.attachments) {
				t.Errorf("line %d: %s %x, %v", v.line, got, attachments, err)
			}
			for i := range v.value {
				if got, err := msgpack.AppendJSON(nil, v.value[:i], &attachments); err == nil {
					t.Errorf("line %d: cut at %d it is %s", v.line, i, got)
				}
			}
			if _, err := msgpack.AppendJSON(nil, append(bytes.Clone(v.value), 0), &attachments); !errors.Is(err, msgpack.ErrRest) {
				t.Errorf("line %d, and a byte: %v", v.line, err)
			}
		}
		if v.fromJSON {
			got, err := msgpack.AppendValue([]byte("x"), []byte(v.json), v.attachments)
			if v.valueErr != nil {
				if !errors.Is(err, v.valueErr) || got != nil {
					t.Errorf("line %d: %x, %v", v.line, got, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, append([]byte("x"), v.value...)) {
				t.Errorf("line %d: %x, %v", v.line, got, err)
			}
			for i := range v.json {
				cut := []byte(v.json[:i])
				if got, err := msgpack.AppendValue(nil, cut, v.attachments); err == nil && !json.Valid(cut) {
					t.Errorf("line %d: %s is %x", v.line, cut, got)
				}
			}
		}
	}
}

func same(a, b [][]byte) bool {
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// TestDepth: MaxDepth each way, placeholders included, and no deeper.
func TestDepth(t *testing.T) {
	for _, c := range []struct {
		value, json string // the innermost
		levels      int    // that it has itself, in JSON
	}{
		{"00", `0`, 0},
		{"90", `[]`, 1},
		{"80", `{}`, 1},
		{"c40161", `{"_placeholder":true,"num":0}`, 1},
		{"d50561 62", `[5,{"_placeholder":true,"num":0}]`, 2},
	} {
		for _, depth := range []int{0, 30, 31, 32, 33, 509, 510, 511, 512, 513, 100_000} {
			value := append(bytes.Repeat([]byte{0x91}, depth), unhex(t, c.value)...)
			text := strings.Repeat("[", depth) + c.json + strings.Repeat("]", depth)
			ok := depth+c.levels <= msgpack.MaxDepth
			var attachments [][]byte
			got, err := msgpack.AppendJSON(nil, value, &attachments)
			if ok && string(got) != text || !ok && !errors.Is(err, msgpack.ErrDepth) {
				t.Errorf("%d and %s: %d bytes, %v", depth, c.json, len(got), err)
			}
			got, err = msgpack.AppendValue(nil, []byte(text), [][]byte{{0x61}})
			if c.value[0] != 'd' && ok && !bytes.Equal(got, value) || !ok && !errors.Is(err, sio.ErrDepth) {
				t.Errorf("%d and %s: %d bytes, %v", depth, c.json, len(got), err)
			}
		}
	}
	deep := append(bytes.Repeat([]byte{0x81, 0xa0}, 512), 0)
	if end, ext, err := msgpack.Scan(deep, 0); err != nil || ext || end != len(deep) {
		t.Errorf("%d, %v, %v", end, ext, err)
	}
	for _, most := range []int{1, 7, 511} {
		if _, _, err := msgpack.Scan(deep, most); !errors.Is(err, msgpack.ErrDepth) {
			t.Errorf("depth %d: %v", most, err)
		}
	}
}

// TestLengths: the heads of what is long, and nothing is taken for a length whose
// bytes are not there.
func TestLengths(t *testing.T) {
	for _, n := range []int{15, 16, 31, 32, 255, 256, 65535, 65536, 70000} {
		text := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		for _, literal := range []string{`"` + text + `"`, `"` + strings.ReplaceAll(text, "é", `\u00e9`) + `"`} {
			got, err := msgpack.AppendValue(nil, []byte(literal), nil)
			if err != nil || !bytes.Equal(got, msgpack.AppendString(nil, text)) {
				t.Errorf("a string of %d: %x, %v", n, got[:5], err)
			}
			if s, ok := msgpack.Text(got); !ok || s != text {
				t.Errorf("a string of %d: %x", n, got[:5])
			}
		}
		list := "[" + strings.Repeat("1,", n-1) + "1]"
		object := "{" + strings.Repeat(`"a":1,`, n-1) + `"a":1}`
		for _, text := range []string{list, object} {
			value, err := msgpack.AppendValue(nil, []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			var attachments [][]byte
			if back, err := msgpack.AppendJSON(nil, value, &attachments); err != nil || string(back) != text {
				t.Errorf("%d items: %x, %v", n, value[:5], err)
			}
		}
		for _, ext := range []bool{false, true} {
			b := bytes.Repeat([]byte{7}, n)
			value := msgpack.AppendBinary(nil, b)
			if ext {
				value = msgpack.AppendExt(nil, 0, b)
			}
			if got, ok := msgpack.Binary(value); !ok || !bytes.Equal(got, b) {
				t.Errorf("binary of %d, extension %v: %x", n, ext, value[:5])
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for c := range 256 {
		claim := append([]byte{byte(c)}, bytes.Repeat([]byte{0xff}, 8)...)
		for n := range claim {
			var attachments [][]byte
			_, _ = msgpack.AppendJSON(nil, claim[:n+1], &attachments)
			_, _ = msgpack.Split(claim[:n+1], nil)
		}
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 4<<20 {
		t.Errorf("%d bytes were taken", taken)
	}
}

// TestAttachmentsAreAppended: their numbers go on from what is there, they are views
// that cannot grow into what follows, and of an error none is left.
func TestAttachmentsAreAppended(t *testing.T) {
	value := unhex(t, "92 c40161 c40162")
	attachments := [][]byte{[]byte("first")}
	got, err := msgpack.AppendJSON(nil, value, &attachments)
	if err != nil || string(got) != `[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]` {
		t.Fatalf("%s, %v", got, err)
	}
	if &attachments[1][0] != &value[3] || cap(attachments[1]) != 1 {
		t.Error("an attachment is no view, or has room")
	}
	if _, err := msgpack.AppendJSON(nil, unhex(t, "92 c40161 81 c000"), &attachments); err == nil || len(attachments) != 3 {
		t.Errorf("%d attachments, %v", len(attachments), err)
	}
}

// TestNestedPlaceholders: of placeholders in placeholders the outermost counts alone,
// as in package sio; what it holds takes no memory for its attachments.
func TestNestedPlaceholders(t *testing.T) {
	inner := strings.Repeat(`{"_placeholder":true,"num":0},`, 1000)
	text := `[{"x":[` + inner + `{"_placeholder":true,"num":7}],"_placeholder":true,"num":0}]`
	big := make([]byte, 1<<16)
	if err := sio.CheckPlaceholders([]byte(text), 1); err != nil {
		t.Fatal(err)
	}
	got, err := msgpack.AppendValue(nil, []byte(text), [][]byte{big})
	if err != nil || !bytes.Equal(got, msgpack.AppendBinary([]byte{0x91}, big)) || cap(got) > 4*len(big) {
		t.Errorf("%d bytes of %d, %v", len(got), cap(got), err)
	}
}

// randomJSON appends any JSON, with placeholders for attachments.
func randomJSON(r *rand.Rand, dst []byte, depth int, attachments *[][]byte) []byte {
	dst = randomValue(r, randomSpace(r, dst), depth, attachments)
	return randomSpace(r, dst)
}

func randomSpace(r *rand.Rand, dst []byte) []byte {
	for r.IntN(8) == 0 {
		dst = append(dst, " \t\r\n"[r.IntN(4)])
	}
	return dst
}

func randomString(r *rand.Rand, dst []byte) []byte {
	pieces := []string{"a", "€", "😀", `\n`, `\"`, `\\`, `\u0000`, `\ud83d\ude00`, `\ud800`, "num", "x y", `\/`, "\u2028", "zzzzzzzzzzzzzzzz"}
	dst = append(dst, '"')
	for range r.IntN(9) {
		dst = append(dst, pieces[r.IntN(len(pieces))]...)
	}
	return append(dst, '"')
}

func randomValue(r *rand.Rand, dst []byte, depth int, attachments *[][]byte) []byte {
	kind := r.IntN(11)
	if depth == 0 {
		kind = r.IntN(8)
	}
	switch kind {
	case 0:
		return append(dst, [...]string{"null", "true", "false"}[r.IntN(3)]...)
	case 1, 2:
		n := r.Uint64() >> r.IntN(64)
		if r.IntN(2) == 0 {
			return strconv.AppendInt(dst, int64(n), 10)
		}
		return strconv.AppendUint(dst, n, 10)
	case 3, 4:
		return strconv.AppendFloat(dst, r.NormFloat64()*float64(uint64(1)<<r.IntN(64)), "efg"[r.IntN(3)], r.IntN(20), 64)
	case 5, 6:
		return randomString(r, dst)
	case 7:
		*attachments = append(*attachments, make([]byte, r.IntN(300)))
		return sio.AppendPlaceholder(dst, len(*attachments)-1)
	}
	object := kind == 10
	brackets := "[]"
	if object {
		brackets = "{}"
	}
	dst = randomSpace(r, append(dst, brackets[0]))
	for i := range r.IntN(20) {
		if i > 0 {
			dst = append(dst, ',')
		}
		if object {
			dst = randomString(r, randomSpace(r, dst))
			dst = append(randomSpace(r, dst), ':')
		}
		dst = randomJSON(r, dst, depth-1, attachments)
	}
	return append(dst, brackets[1])
}

// TestRoundTrip: JSON that has become MessagePack and JSON again is equal as a value,
// and integers digit by digit.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var attachments [][]byte
		text := randomJSON(r, nil, r.IntN(6), &attachments)
		checkRoundTrip(t, text, attachments)
	}
}

func checkRoundTrip(t *testing.T, text []byte, attachments [][]byte) {
	t.Helper()
	value, err := msgpack.AppendValue(nil, text, attachments)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var back [][]byte
	again, err := msgpack.AppendJSON(nil, value, &back)
	if errors.Is(err, msgpack.ErrPlaceholder) && bytes.Contains(value, []byte("_placeholder")) {
		return
	}
	if err != nil {
		t.Fatalf("%s is %x: %v", text, value, err)
	}
	if got, want := decode(t, again, back), decode(t, text, attachments); !equal(got, want) {
		t.Fatalf("%s is %x is %s", text, value, again)
	}
}

// decode is encoding/json, with attachments in place.
func decode(t *testing.T, text []byte, attachments [][]byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	floatPlaceholders(v)
	arguments.Restore(&v, attachments)
	return v
}

// floatPlaceholders makes the numbers of placeholders what Restore knows.
func floatPlaceholders(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			floatPlaceholders(x)
		}
	case map[string]any:
		if n, ok := v["num"].(json.Number); ok && v["_placeholder"] == true {
			v["num"], _ = n.Float64()
		}
		for _, x := range v {
			floatPlaceholders(x)
		}
	}
}

// equal compares decoded JSON: integers of 64 bits by their digits, other numbers by
// their float64.
func equal(got, want any) bool {
	switch want := want.(type) {
	case []any:
		got, ok := got.([]any)
		return ok && slices.EqualFunc(got, want, equal)
	case map[string]any:
		got, ok := got.(map[string]any)
		return ok && maps.EqualFunc(got, want, equal)
	case json.Number:
		got, ok := got.(json.Number)
		_, err1 := strconv.ParseInt(string(want), 10, 64)
		_, err2 := strconv.ParseUint(string(want), 10, 64)
		if !ok || got == want || err1 == nil && want != "-0" || err2 == nil {
			return ok && got == want
		}
		f, _ := got.Float64()
		g, _ := want.Float64()
		return f == g
	}
	return reflect.DeepEqual(got, want)
}

func TestEnvelope(t *testing.T) {
	b := msgpack.AppendArrayHead(nil, 4)
	b = msgpack.AppendString(b, "LMbIdS")
	b = msgpack.AppendMapHead(b, 6)
	b = msgpack.AppendInt(msgpack.AppendString(b, "type"), 2)
	b = msgpack.AppendBool(msgpack.AppendString(b, []byte("local")), true)
	b = msgpack.AppendNil(msgpack.AppendString(b, "own"))
	b = msgpack.AppendFloat(msgpack.AppendString(b, "timeout"), 5000)
	b = msgpack.AppendNil(msgpack.AppendInt(b, 7)) // no string: passed over
	b = msgpack.AppendBinary(msgpack.AppendString(b, "bin"), []byte{1, 2})
	b = msgpack.AppendArrayHead(b, 0)
	b = msgpack.AppendUint(b, 1<<63)

	list, err := msgpack.Split(b, make([][]byte, 0, 4))
	if err != nil || len(list) != 4 {
		t.Fatalf("%x, %v", list, err)
	}
	if s, ok := msgpack.Text(list[0]); !ok || s != "LMbIdS" || cap(list[0]) != len(list[0]) {
		t.Errorf("%q, %v", s, ok)
	}
	var keys []string
	err = msgpack.Pairs(list[1], func(key string, value []byte) error {
		keys = append(keys, key)
		switch key {
		case "type":
			if n, ok := msgpack.Int(value); !ok || n != 2 {
				t.Errorf("%d, %v", n, ok)
			}
		case "local":
			if v, ok := msgpack.Bool(value); !ok || !v {
				t.Errorf("%v, %v", v, ok)
			}
		case "own":
			if !msgpack.IsNil(value) {
				t.Errorf("%x", value)
			}
		case "timeout":
			if n, ok := msgpack.Int(value); !ok || n != 5000 {
				t.Errorf("%d, %v", n, ok)
			}
		case "bin":
			if v, ok := msgpack.Binary(value); !ok || string(v) != "\x01\x02" {
				t.Errorf("%x, %v", v, ok)
			}
		}
		return nil
	})
	if want := []string{"type", "local", "own", "timeout", "bin"}; err != nil || !reflect.DeepEqual(keys, want) {
		t.Errorf("%q, %v", keys, err)
	}
	if n, ok := msgpack.Int(list[3]); ok {
		t.Errorf("1<<63 is %d", n)
	}
	stop := errors.New("stop")
	calls := 0
	if err := msgpack.Pairs(list[1], func(string, []byte) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	for i := range b {
		if _, err := msgpack.Split(b[:i], nil); err == nil {
			t.Errorf("an array was split that is cut at %d", i)
		}
	}
	none := func(string, []byte) error { t.Error("called for a map that is wrong"); return nil }
	for i := range list[1] {
		if err := msgpack.Pairs(list[1][:i], none); err == nil {
			t.Errorf("a map was read that is cut at %d", i)
		}
	}
	if err := msgpack.Pairs(append(bytes.Clone(list[1]), 0), none); !errors.Is(err, msgpack.ErrRest) {
		t.Error(err)
	}
	if _, err := msgpack.Split(append(bytes.Clone(b), 0), nil); !errors.Is(err, msgpack.ErrRest) {
		t.Error(err)
	}
	if err := msgpack.Pairs(b, none); !errors.Is(err, msgpack.ErrKind) {
		t.Error(err)
	}
	if _, err := msgpack.Split(list[1], nil); !errors.Is(err, msgpack.ErrKind) {
		t.Error(err)
	}
}

// TestReaders: each takes its own kind, whole, and nothing else.
func TestReaders(t *testing.T) {
	readers := map[string]func([]byte) bool{
		"text":   func(b []byte) bool { _, ok := msgpack.Text(b); return ok },
		"int":    func(b []byte) bool { _, ok := msgpack.Int(b); return ok },
		"float":  func(b []byte) bool { _, ok := msgpack.Float(b); return ok },
		"bool":   func(b []byte) bool { _, ok := msgpack.Bool(b); return ok },
		"nil":    msgpack.IsNil,
		"binary": func(b []byte) bool { _, ok := msgpack.Binary(b); return ok },
		"time":   func(b []byte) bool { _, ok := msgpack.Time(b); return ok },
	}
	for value, kinds := range map[string]string{
		"a178": "text", "a0": "text", "07": "int", "ff": "int", "cf7fffffffffffffff": "int", "cf8000000000000000": "",
		"d38000000000000000": "int", "cb3ff0000000000000": "int float", "cb3ff8000000000000": "float", "ca3f800000": "int float",
		"cb4340000000000000": "int float", "cb4340000000000001": "float", "cb7ff0000000000000": "float", "cb7ff8000000000001": "float",
		"c2": "bool", "c3": "bool", "c0": "nil", "d40000": "nil", "d40001": "binary", "c400": "binary", "c70100 00": "binary",
		"d6ff00000000": "time", "d7000000018bcfe5687b": "time", "d7050000018bcfe5687b": "", "90": "", "80": "", "9100": "", "c1": "", "": "",
	} {
		b := unhex(t, value)
		for kind, is := range readers {
			if want := strings.Contains(" "+kinds+" ", " "+kind+" "); is(b) != want {
				t.Errorf("%s as %s: %v", value, kind, !want)
			}
			if is(append(bytes.Clone(b), 0)) && value != "" {
				t.Errorf("%s and a byte as %s", value, kind)
			}
			if len(b) > 0 && is(b[:len(b)-1]) {
				t.Errorf("%s cut as %s", value, kind)
			}
		}
	}
}

// event is 100 bytes, as benchmarks and allocations have it.
const event = `["message",{"room":"lobby","text":"hello all, \"Zoë\"","at":1700000000123,"n":[1,2.5,true]},"abcd"]`

var deepEvent = strings.Repeat(`[`, 400) + event + strings.Repeat(`]`, 400)

// TestAllocs: nothing is taken beside dst and the list of attachments.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("race builds allocate")
	}
	long, err := json.Marshal([]string{strings.Repeat(`x"é`, 2000), strings.Repeat("1", 300)})
	if err != nil {
		t.Fatal(err)
	}
	binary := [][]byte{make([]byte, 300)}
	for name, text := range map[string]string{
		"event": event, "deep": deepEvent, "long": string(long), "float": "1.00000000000000000000000000000000000000000000001",
		"binary": `["a",{"\u005fplaceholder":true,"num":0},{"_placeholder":false}]`[:39] + "]",
	} {
		text := []byte(text)
		dst := make([]byte, 0, 1<<16)
		if n := testing.AllocsPerRun(50, func() {
			if _, err := msgpack.AppendValue(dst, text, binary); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}); n != 0 {
			t.Errorf("%s: AppendValue allocates %v times", name, n)
		}
		value, err := msgpack.AppendValue(nil, text, binary)
		if err != nil {
			t.Fatal(err)
		}
		attachments := make([][]byte, 0, 4)
		if n := testing.AllocsPerRun(50, func() {
			list := attachments
			if _, err := msgpack.AppendJSON(dst, value, &list); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}); n != 0 {
			t.Errorf("%s: AppendJSON allocates %v times", name, n)
		}
	}
	envelope, err := msgpack.AppendValue(nil, []byte(`["LMbIdS",{"type":2,"data":["hi",1],"nsp":"/"},{"rooms":["r1"],"except":[],"flags":{"timeout":5}}]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	room, found := make([][]byte, 0, 3), 0
	if n := testing.AllocsPerRun(50, func() {
		list, _ := msgpack.Split(envelope, room)
		for _, m := range list[1:] {
			_ = msgpack.Pairs(m, func(key string, _ []byte) error {
				found += len(key)
				return nil
			})
		}
	}); n != 0 || found == 0 {
		t.Errorf("an envelope allocates %v times", n)
	}
}

// FuzzAppendJSON: what is accepted becomes JSON that this server takes, with a
// placeholder for each attachment, and is the same when it has been MessagePack again.
func FuzzAppendJSON(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var attachments [][]byte
		text, err := msgpack.AppendJSON(nil, value, &attachments)
		end, _, scanErr := msgpack.Scan(value, 0)
		if scanErr == nil && end == len(value) && err != nil &&
			!errors.Is(err, msgpack.ErrKey) && !errors.Is(err, msgpack.ErrPlaceholder) && !errors.Is(err, msgpack.ErrDepth) {
			t.Fatalf("%x is a value: %v", value, err)
		}
		if list, err := msgpack.Split(value, nil); err == nil && !bytes.HasSuffix(value, bytes.Join(list, nil)) {
			t.Fatalf("%x was split into %x", value, list)
		}
		_ = msgpack.Pairs(value, func(_ string, v []byte) error {
			if end, _, err := msgpack.Scan(v, 0); err != nil || end != len(v) {
				t.Fatalf("%x has the value %x", value, v)
			}
			return nil
		})
		if err != nil {
			return
		}
		if scanErr != nil || end != len(value) {
			t.Fatalf("%x was accepted: %v", value, scanErr)
		}
		if err := sio.Valid(text, 0); err != nil || !json.Valid(text) {
			t.Fatalf("%x is %s: %v", value, text, err)
		}
		if err := sio.CheckPlaceholders(text, len(attachments)); len(attachments) > 0 && (err != nil || bytes.Count(text, []byte(`{"_placeholder":true,`)) != len(attachments)) {
			t.Fatalf("%x is %s with %d attachments: %v", value, text, len(attachments), err)
		}
		again, err := msgpack.AppendValue(nil, text, attachments)
		if err != nil {
			t.Fatalf("%x is %s: %v", value, text, err)
		}
		var back [][]byte
		if same2, err := msgpack.AppendJSON(nil, again, &back); err != nil || !bytes.Equal(same2, text) || !same(back, attachments) {
			t.Fatalf("%s is %x is %s, %v", text, again, same2, err)
		}
	})
}

// FuzzAppendValue: what encoding/json takes is taken, but for the limits that are
// said, and is equal to what it has decoded.
func FuzzAppendValue(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.json))
	}
	f.Add([]byte(event))
	attachments := [][]byte{[]byte("a"), {}, make([]byte, 300)}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := msgpack.AppendValue(nil, text, attachments)
		if !json.Valid(text) || !utf8.Valid(text) {
			if err == nil {
				t.Fatalf("%q is %x", text, value)
			}
			return
		}
		if err != nil {
			var v any
			_, missing := sio.AppendRenumbered(nil, text, func(num int) (int, bool) { return 0, num >= 0 && num < len(attachments) })
			if sio.Valid(text, 0) == nil && missing == nil && json.Unmarshal(text, &v) == nil {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if end, ext, err := msgpack.Scan(value, 0); err != nil || ext || end != len(value) {
			t.Fatalf("%q is %x: %v", text, value, err)
		}
		checkRoundTrip(t, text, attachments)
	})
}

// The event is 100 bytes of JSON.
func BenchmarkAppendValue(b *testing.B) {
	text, dst := []byte(event), make([]byte, 0, 1024)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := msgpack.AppendValue(dst, text, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	value, err := msgpack.AppendValue(nil, []byte(event), nil)
	if err != nil {
		b.Fatal(err)
	}
	var attachments [][]byte
	dst := make([]byte, 0, 1024)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := msgpack.AppendJSON(dst, value, &attachments); err != nil {
			b.Fatal(err)
		}
	}
}
