package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestBoard: who looks at a figure gets what it was, each new value once, and nothing of
// the others.
func TestBoard(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	b := newBoard(srv.Server)
	c := srv.Connect(t, sockeyetest.Options{})
	told := c.Received()
	if text, _ := json.Marshal(told[0].Args); len(told) != 1 || told[0].Name != "figures" || len(told[0].Args[0].([]any)) != len(figures) {
		t.Errorf("at first there was %s", text)
	}
	start := time.Unix(1_000, 0)
	b.last = sample{at: start}
	tick := func(second int, in float64) {
		b.tick(sample{at: start.Add(time.Duration(second) * time.Second), in: 1e3 * in, heap: 3e6, out: 5e3 * float64(second)})
	}
	tick(1, 25)
	tick(2, 75)
	if got := fmt.Sprint(c.Received()); got != "[]" {
		t.Errorf("nobody looks, and %s comes", got)
	}
	if got := fmt.Sprint(c.Call("look", "in")); got != "[[25 50]]" {
		t.Errorf("it was %s", got)
	}
	tick(3, 75)
	if got := fmt.Sprint(c.Received()); got != "[{value / [in 0]}]" {
		t.Errorf("then there was %s", got)
	}
	c.Emit("look away", "in")
	tick(4, 80)
	if got := fmt.Sprint(c.Received()); got != "[]" {
		t.Errorf("who looks away gets %s", got)
	}
	if got := fmt.Sprint(c.Call("look", "out"), c.Call("look", "heap")); got != "[[5 5 5 5]] [[3 3 3 3]]" {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(c.Call("look", "x")); got != `[map[error:there is no figure "x"]]` {
		t.Errorf("%s", got)
	}
	for i := range 2 * kept {
		tick(5+i, 80)
	}
	if n := len(c.Call("look", "in")[0].([]any)); n != kept {
		t.Errorf("%d values are kept", n)
	}
}

// TestTake: what is measured is of this process.
func TestTake(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	if s := take(srv.Server); s.at.IsZero() || s.heap < 1e4 || s.goroutines < 1 {
		t.Errorf("%+v", s)
	}
}

// TestLookLosesNothing: while values come, each look is answered by all that were before, and
// followed by all that are after.
func TestLookLosesNothing(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := newBoard(srv)
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Close() }()
	conn, _, _, err := ws.Dial(t.Context(), "ws://"+addr.String()+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	say := func(text string) {
		if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	say("40")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1.0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
				b.add("heap", n)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	last := 0.0 // that the page has
	for looks := 0; looks < 300; {
		text, err := wsutil.ReadServerText(conn)
		if err != nil {
			t.Fatal(err)
		}
		var values [][]float64
		var event []any
		switch text := string(text); {
		case text[0] == '0':
		case strings.HasPrefix(text, `40`):
			say(`420["look","heap"]`)
		case strings.HasPrefix(text, `430`):
			if err := json.Unmarshal([]byte(text[3:]), &values); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if list := values[0]; len(list) > 0 {
				if list[len(list)-1] < last {
					t.Fatalf("the answer ends with %v, after %v", list[len(list)-1], last)
				}
				last = list[len(list)-1]
			}
			looks++
			say(`42["look away","heap"]`)
			say(`420["look","heap"]`)
		default:
			if err := json.Unmarshal([]byte(text[2:]), &event); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if event[0] == "value" {
				last = event[2].(float64)
			}
		}
	}
}
