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
