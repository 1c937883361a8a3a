package texts

import (
	"reflect"
	"strings"
	"testing"
)

func TestBlocks(t *testing.T) {
	const text = "# A\n\nbefore\n\n<!-- walk: a/b.go -->\n```go\nx\n\ny\n```\n````text\n```\n````\n- a list\n\n    goes on\n\n```sh\na  b \\\n  c # why\n# no\n\nd#e\n```\n"
	blocks, err := Blocks("a.md", text)
	want := []Block{
		{"a.md", 6, "go", "walk", "a/b.go", "x\n\ny\n"},
		{"a.md", 11, "text", "", "", "```\n"},
		{"a.md", 18, "sh", "", "", "a  b \\\n  c # why\n# no\n\nd#e\n"},
	}
	if err != nil || !reflect.DeepEqual(blocks, want) {
		t.Errorf("%+v, %v", blocks, err)
	}
	if got := blocks[2].Commands(); !reflect.DeepEqual(got, []string{"a b c", "d#e"}) {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]string{
		"a\n\n    code\n": "a.md:3: code by indentation",
		"```go\nx\n":      "a.md:1: the block has no end",
	} {
		if _, err := Blocks("a.md", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
