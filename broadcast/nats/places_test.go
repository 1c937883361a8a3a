package nats_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/client"
)

// TestPlacesOfBefore: a room that was joined behind what NATS has lost was joined before what
// has these numbers now: whoever comes back gets it, or is a new socket.
func TestPlacesOfBefore(t *testing.T) {
	s := startServer(t, true)
	srv, err := sockeye.New(sockeye.Config{
		Adapter: newAdapter(t, s.addr(), quick(withRecovery)), Logger: logger(),
		Recovery: &sockeye.Recovery{MaxDisconnection: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	board := adaptertest.NewSwitchboard(t)
	board.Switch(addr.String())
	c, err := client.New("http://"+board.Addr(), client.Config{Transports: []string{"websocket"}, ReconnectDelay: 5 * time.Millisecond, ReconnectDelayMax: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var mu sync.Mutex
	var got []string
	c.OnAny(func(e *client.Event) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, e.Name)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(got, name)
	}
	emit := func(op sockeye.Operator, name string) {
		t.Helper()
		adaptertest.Eventually(t, name+" is sent", func() bool { return op.Emit(name) == nil })
	}
	emit(srv.All(), "kept")
	adaptertest.Eventually(t, "it comes", func() bool { return has("kept") })
	s.stop(t) // all is on disk
	copied := t.TempDir() + "/copy"
	if err := os.CopyFS(copied, os.DirFS(s.o.Dir)); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	for i := range 10 {
		emit(srv.All(), fmt.Sprint("lost ", i))
	}
	adaptertest.Eventually(t, "they come", func() bool { return has("lost 9") })
	socket := srv.Socket(c.ID())
	if err := socket.Join("red"); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.o.Dir = copied
	s.start(t)
	emit(srv.All(), "here")
	adaptertest.Eventually(t, "it comes", func() bool { return has("here") })
	if err := socket.Join("blue"); err != nil { // its session is written
		t.Fatal(err)
	}
	emit(srv.All(), "written")
	adaptertest.Eventually(t, "it comes", func() bool { return has("written") })
	board.Switch("")
	board.Cut()
	adaptertest.Eventually(t, "it is away", func() bool { return srv.Socket(c.ID()) == nil && !c.Connected() })
	emit(srv.To("red"), "missed")
	emit(srv.All(), "end")
	board.Switch(addr.String())
	adaptertest.Eventually(t, "it is back", c.Connected)
	if c.Recovered() {
		adaptertest.Eventually(t, "the end comes", func() bool { return has("end") })
		if !has("missed") {
			t.Error("it has lost an event")
		}
	}
}
