package sockeye

import (
	"testing"
)

// TestEventAllocs: without a middleware an event in its undecoded form takes no memory on
// its way to its handler, nor do the counters.
func TestEventAllocs(t *testing.T) {
	st := newStage(t, Config{})
	calls := 0
	st.srv.On("e", func(_ *Socket, e *Event) error { calls += e.Len(); return nil })
	st.webSocket()
	s := st.srv.Sockets()[0]
	list := [][]byte{[]byte("1")}
	e := &Event{Args: newArgs(st.srv, list, nil), name: []byte("e"), socket: s}
	if n := testing.AllocsPerRun(100, func() {
		s.count(tallyEventsIn)
		_, _ = s.dispatch(e)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if calls != 101 {
		t.Errorf("%d calls", calls)
	}
}
