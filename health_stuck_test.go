package sockeye_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

type noHandler struct{}

func (noHandler) Claims([]byte) bool                          { return true }
func (noHandler) HandleRequest(*netpoll.Conn, *http1.Request) {}
func (noHandler) HandleMessage(*netpoll.Conn, []byte, bool)   {}
func (noHandler) HandleClose(*netpoll.Conn, error)            {}

// TestStuckLoopIsNamed, with the application's function that holds it up, and told to
// the log once.
func TestStuckLoopIsNamed(t *testing.T) {
	var log notes
	g, err := netpoll.New(netpoll.Config{Loops: 2, Logger: slog.New(slog.NewTextHandler(noteWriter{&log}, nil))}, noHandler{})
	if err != nil {
		t.Fatal(err)
	}
	leave := make(chan struct{})
	g.Loop(1).Post(holdUp, leave, nil, 0)
	var stuck []netpoll.StuckLoop
	eventually(t, func() bool { stuck = g.Stuck(50 * time.Millisecond); return len(stuck) > 0 })
	if s := stuck[0]; len(stuck) != 1 || s.Loop != 1 || s.For < 50*time.Millisecond ||
		!strings.HasSuffix(s.In, "sockeye_test.holdUp") || !strings.Contains(s.Stack, "health_stuck_test.go") {
		t.Errorf("%+v", stuck)
	}
	g.Stuck(time.Millisecond)
	if lines := log.get(); len(lines) != 1 || !strings.Contains(lines[0], "a loop does not turn") {
		t.Errorf("%q", lines)
	}
	close(leave)
	eventually(t, func() bool { return len(g.Stuck(time.Millisecond)) == 0 })
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if stuck := g.Stuck(0); len(stuck) != 0 {
		t.Errorf("of a group that has ended: %v", stuck)
	}
}

func holdUp(leave, _ any) { <-leave.(chan struct{}) }

type noteWriter struct{ to *notes }

func (w noteWriter) Write(b []byte) (int, error) {
	w.to.add("%s", b)
	return len(b), nil
}
