package cluster

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
)

// TestFirstOf: of an answer with several arguments one is left, with its binary.
func TestFirstOf(t *testing.T) {
	two := [][]byte{{1}, {2}}
	for _, c := range []struct {
		json, want  string
		attachments int
	}{
		{`[]`, `[]`, 2},
		{`[1]`, `[1]`, 2},
		{`[1,{"_placeholder":true,"num":0}]`, `[1]`, 0},
		{`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, `[{"_placeholder":true,"num":0}]`, 1},
		{`[[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}],2]`, `[[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]]`, 2},
	} {
		p := firstOf(broadcast.Payload{JSON: []byte(c.json), Attachments: two})
		if string(p.JSON) != c.want || len(p.Attachments) != c.attachments {
			t.Errorf("%s: %s, %d attachments", c.json, p.JSON, len(p.Attachments))
		}
	}
}

// TestNoUTF8: no text that is not UTF-8 gets to peers, whose connections would end of it.
func TestNoUTF8(t *testing.T) {
	for _, bad := range []string{
		"{\"type\":3,\"nsp\":\"/\",\"data\":{\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}},\"packet\":{\"data\":[\"e\",\"\xed\"]}}}",
		"{\"type\":9,\"nsp\":\"/\",\"data\":{\"requestId\":\"1\",\"packet\":[\"e\",\"\xed\"]}}",
		"{\"type\":10,\"nsp\":\"/\",\"data\":{\"requestId\":\"1\",\"packet\":\"\xed\"}}",
		"{\"type\":12,\"nsp\":\"/\",\"data\":{\"requestId\":\"1\",\"packet\":\"\xed\"}}",
	} {
		m, err := Decode([]byte(bad))
		if !errors.Is(err, errMessage) {
			t.Errorf("%q is read as %+v, %v", bad, m, err)
		}
		good := strings.ReplaceAll(bad, "\xed", "í")
		if m, err := Decode([]byte(good)); err != nil || !bytes.Contains(m.Payload.JSON, []byte("í")) {
			t.Errorf("%q is read as %+v, %v", good, m, err)
		}
	}
}

// TestNumber: a message's number is read as it was written, in both forms, and who has sent
// it does not pass it over.
func TestNumber(t *testing.T) {
	a := &Adapter{uid: "0123456789abcdef", ownTail: []byte(`,"uid":"0123456789abcdef","nsp":"`)}
	for _, number := range []uint64{0, 1, 1<<53 + 1, 1<<63 - 1} {
		m := &Message{Type: Broadcast, UID: a.uid, Namespace: "/", Number: number, Payload: broadcast.Payload{JSON: []byte(`["e"]`)}}
		text := AppendJSON(nil, m)
		if own := a.Own(text); own != (number == 0) {
			t.Errorf("%s: %v", text, own)
		}
		binary, err := AppendMsgpack(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{text, binary} {
			if got, err := Decode(b); err != nil || got.Number != number {
				t.Errorf("%q: %+v, %v, not %d", b, got, err, number)
			}
		}
	}
	for _, n := range []string{"-1", "1.5", "1e3", "18446744073709551616", `"1"`} {
		if m, err := Decode([]byte(`{"type":2,"uid":"x","nsp":"/","n":` + n + `}`)); err == nil {
			t.Errorf("%s is read as %d", n, m.Number)
		}
	}
}

// TestPassedServerEvent: that an event for servers has been passed on is read as it was written,
// in both forms.
func TestPassedServerEvent(t *testing.T) {
	for _, passed := range []bool{false, true} {
		m := &Message{Type: ServerSideEmit, UID: "x", Namespace: "/", Payload: broadcast.Payload{JSON: []byte(`["e"]`), Passed: passed}}
		binary, err := AppendMsgpack(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{AppendJSON(nil, m), binary} {
			if got, err := Decode(b); err != nil || got.Payload.Passed != passed || got.Payload.Clone().Passed != passed {
				t.Errorf("%q: %+v, %v", b, got, err)
			}
		}
	}
}
