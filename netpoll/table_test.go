package netpoll

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// emptySystem is a kernel in which nothing happens.
type emptySystem struct{ System }

func (emptySystem) Now() time.Duration                              { return 0 }
func (emptySystem) Wake()                                           {}
func (emptySystem) WakeAfter(time.Duration)                         {}
func (emptySystem) Watch(int, Interest, Interest) error             { return nil }
func (emptySystem) Read(int, []byte) (int, error)                   { return 0, syscall.EAGAIN }
func (emptySystem) Close(int) error                                 { return nil }
func (emptySystem) Unsent(int) int                                  { return 0 }
func (emptySystem) Unread(int) int                                  { return 0 }
func (emptySystem) AppendRemoteAddr(b []byte, _ int) ([]byte, bool) { return b, true }

type noHandler struct{ Handler }

func (noHandler) HandleClose(*Conn, error) {}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestTableMemory: descriptors cost their 8 bytes once, however many loops there
// are, and however they are spread.
func TestTableMemory(t *testing.T) {
	const loops, highest, apart = 64, 1 << 19, 1000
	systems := make([]System, loops)
	for i := range systems {
		systems[i] = emptySystem{}
	}
	g := NewManual(Config{}, noHandler{}, systems...)
	before := heap()
	var conns []*Conn
	for fd := 1; fd < highest; fd += apart {
		c := g.loops[len(conns)%loops].Adopt(fd)
		c.enter(phaseOpen) // as a WebSocket: no deadline
		conns = append(conns, c)
	}
	took := heap() - before
	if per := float64(took) / highest; per > 10 {
		t.Errorf("%.1f bytes for each of %d descriptors", per, highest)
	}
	before = heap()
	for fd := 2; len(conns) < 10_000; fd++ {
		if g.table.get(fd) == nil {
			c := g.loops[len(conns)%loops].Adopt(fd)
			c.enter(phaseOpen)
			conns = append(conns, c)
		}
	}
	took = heap() - before
	if per := took / len(conns); per > 120 {
		t.Errorf("%d bytes for each of %d connections", per, len(conns))
	}
	found := 0
	for _, l := range g.loops {
		g.table.each(l, func(c *Conn) {
			if c.loop != l {
				t.Error("another loop's")
			}
			found++
		})
	}
	if found != len(conns) {
		t.Errorf("%d connections found of %d", found, len(conns))
	}
	for _, c := range conns {
		fd := int(c.fd)
		if c.abort(nil); g.table.get(fd) != nil {
			t.Fatal("still there")
		}
	}
	runtime.KeepAlive(g)
}
