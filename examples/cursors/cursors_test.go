package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// got are a client's events since the last time.
func got(c *sockeyetest.Client) string {
	var all []string
	for _, e := range c.Received() {
		all = append(all, fmt.Sprint(e.Name, e.Args))
	}
	return strings.Join(all, " ")
}

// TestCursors: who moves is seen by the others, who marks by all, and who goes is gone.
func TestCursors(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	register(srv.Server)
	ann := srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"name": " Ann "}})
	bob := srv.Connect(t, sockeyetest.Options{})
	ann.Emit("move", 0.25, 1)
	if want := fmt.Sprintf("moved[map[id:%s name:Ann x:0.25 y:1]]", ann.ID()); got(bob) != want || got(ann) != "" {
		t.Errorf("it is not %s", want)
	}
	bob.Emit("mark", 0, 0)
	want := fmt.Sprintf("marked[map[id:%s name:somebody x:0 y:0]]", bob.ID())
	for _, c := range []*sockeyetest.Client{ann, bob} {
		if g := got(c); g != want {
			t.Errorf("%s, want %s", g, want)
		}
	}
	long := srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"name": strings.Repeat("x", 25)}})
	for want, answer := range map[string][]any{
		"this is not on the board": ann.Call("mark", 0, 1.1),
		"the name is too long":     long.Call("move", 0, 0),
	} {
		if got := fmt.Sprint(answer); got != "[map[error:"+want+"]]" {
			t.Errorf("answered by %s", got)
		}
	}
	if g := got(bob); g != "" {
		t.Errorf("what was refused has come: %s", g)
	}
	ann.Break()
	if want := fmt.Sprintf("gone[%s]", ann.ID()); got(bob) != want {
		t.Errorf("it is not %s", want)
	}
}
