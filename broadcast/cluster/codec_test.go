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
