package netpoll

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/goroutine"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// nothing is a handler that claims nothing.
type nothing struct{}

func (nothing) Claims([]byte) bool                  { return false }
func (nothing) HandleRequest(*Conn, *http1.Request) {}
func (nothing) HandleMessage(*Conn, []byte, bool)   {}
func (nothing) HandleClose(*Conn, error)            {}

func newTestGroup(t *testing.T, cfg Config) *Group {
	t.Helper()
	g, err := New(cfg, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(t.Context()) })
	return g
}

// TestTwoGroups has two loops of two groups post to each other, each more than
// the other will take, while neither takes anything.
func TestTwoGroups(t *testing.T) {
	var loops [2]*Loop
	for i := range loops {
		g, err := New(Config{Loops: 1, MaxPostedJobs: 100}, nothing{})
		if err != nil {
			t.Fatal(err)
		}
		loops[i] = g.Loop(0)
	}
	running, done := make(chan struct{}, 2), make(chan struct{}, 2)
	start := make(chan struct{})
	flood := func(to, _ any) {
		running <- struct{}{}
		<-start
		for range 1000 {
			to.(*Loop).Post(func(any, any) {}, nil, nil, 0)
		}
		done <- struct{}{}
	}
	for i, l := range loops {
		l.Post(flood, loops[1-i], nil, 0)
		<-running
	}
	close(start)
	late := time.After(10 * time.Second)
	for range loops {
		select {
		case <-done:
		case <-late:
			t.Fatal("two loops wait for each other") // and Close would wait for them
		}
	}
	for _, l := range loops {
		_ = l.Group().Close(t.Context())
	}
}

// TestOnLoop follows a goroutine into a loop and out of it.
func TestOnLoop(t *testing.T) {
	g := newTestGroup(t, Config{Loops: 2})
	for i := range 2 {
		on := make(chan bool)
		g.Loop(i).Post(func(any, any) { on <- OnLoop() }, nil, nil, 0)
		if !<-on {
			t.Errorf("loop %d is not known as one", i)
		}
	}
	if OnLoop() {
		t.Error("the test is taken for a loop")
	}
	manual := NewManual(Config{}, nothing{}, still{}, still{})
	if !OnLoop() {
		t.Error("who turns loops by hand is not known as one")
	}
	claimed := make(chan bool)
	go func() {
		manual.Loop(1).Claim()
		claimed <- OnLoop()
	}()
	if !<-claimed || !OnLoop() {
		t.Error("two goroutines turn a loop each, and one is not known")
	}
	for i := range 2 {
		manual.Loop(i).Claim()
		manual.Loop(i).stop()
		manual.Loop(i).Claim() // as netpolltest does when it goes on after the end
	}
	if OnLoop() {
		t.Error("the loops have ended, and the test is taken for one")
	}
}

// TestOnLoopReusedID: a goroutine that turned a loop by hand has ended without
// a word, and its ID is another's.
func TestOnLoopReusedID(t *testing.T) {
	before := owner{goroutine.ID(), goroutine.Number() - 1}
	runners.change(before, 1)
	if OnLoop() {
		t.Error("taken for the goroutine that had the ID before")
	}
	now := owner{goroutine.ID(), goroutine.Number()}
	runners.change(now, 1)
	for _, o := range *runners.list.Load() {
		if o.owner == before {
			t.Error("who has ended is kept")
		}
	}
	if !OnLoop() {
		t.Error("not known any more")
	}
	runners.change(before, -1)
	runners.change(now, -1)
	if OnLoop() {
		t.Error("still known")
	}
}

func TestOnLoopAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("other tests allocate meanwhile")
	}
	newTestGroup(t, Config{Loops: 1})
	if n := testing.AllocsPerRun(100, func() { OnLoop() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOnLoop(b *testing.B) {
	g, err := New(Config{Loops: 8}, nothing{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		OnLoop()
	}
	_ = g.Close(b.Context())
}

// still is a kernel with neither connections nor time.
type still struct{ System }

func (still) Now() time.Duration      { return 0 }
func (still) Wake()                   {}
func (still) WakeAfter(time.Duration) {}
