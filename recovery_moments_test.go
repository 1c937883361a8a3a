package sockeye

import (
	"regexp"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestTidyDuringBroadcast: a child namespace that is forgotten while somebody emits in it
// does not stop the server.
func TestTidyDuringBroadcast(t *testing.T) {
	srv, err := New(Config{Recovery: &Recovery{}, CleanupEmptyChildNamespaces: true})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	srv.OfPattern(regexp.MustCompile(`/child`))
	ns := srv.Of("/child")
	ns.history.mu.Lock() // as an emit that has come to handing it out
	tidied, emitted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(tidied)
		srv.tidy(ns)
	}()
	for srv.mu.TryRLock() { // until the other one waits for the emit
		srv.mu.RUnlock()
		time.Sleep(time.Millisecond)
	}
	go func() {
		defer close(emitted)
		if err := ns.closedErr(broadcast.ErrClosed); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-emitted:
	case <-time.After(wiretest.Limit):
		t.Error("they wait for each other")
	}
	ns.history.mu.Unlock()
	<-tidied
}

// TestJoinWhileEntering: Join and Leave of another goroutine, at the moment when the
// middlewares let a socket in, have an effect.
func TestJoinWhileEntering(t *testing.T) {
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	srv, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	begun := make(chan *Socket)
	srv.Use(func(s *Socket) error {
		_ = s.Join("early")
		begun <- s
		return nil
	})
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := wiretest.DialWS(t, addr.String(), "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	for i := range rounds {
		w.Write("40")
		s := <-begun
		for s.life.state() == asking {
		}
		if err := s.Join("late"); err != nil {
			t.Fatalf("round %d: Join: %v", i, err)
		}
		s.Leave("early")
		if rooms := s.Rooms(); len(rooms) != 2 || rooms[1] != "late" {
			t.Fatalf("round %d: it is in %q", i, rooms)
		}
		w.Expect("40{*")
		w.Write("41")
	}
}
