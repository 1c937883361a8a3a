package cluster

import (
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
