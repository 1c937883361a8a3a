package sockeye_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestWhatThereIs is what a collector of metrics asks: which namespaces there are,
// whose they are, and how many rooms and sockets they have.
func TestWhatThereIs(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{Loops: 2, CleanupEmptyChildNamespaces: true}, func(srv *sockeye.Server) {
		srv.Of("/fixed")
		rooms := srv.OfPattern(regexp.MustCompile(`/room-\d+`))
		rooms.OnConnect(func(s *sockeye.Socket) error { return s.Join("common", "of "+s.ID()) })
	})
	names := func() (fixed, dynamic []string) {
		for _, ns := range srv.Namespaces() {
			if ns.Dynamic() {
				dynamic = append(dynamic, ns.Name())
			} else {
				fixed = append(fixed, ns.Name())
			}
		}
		slices.Sort(fixed)
		slices.Sort(dynamic)
		return fixed, dynamic
	}
	peers := []*wiretest.WS{wiretest.Connect(t, addr), wiretest.Connect(t, addr), wiretest.Connect(t, addr)}
	for _, w := range peers {
		w.Write(`40/room-1,`)
		w.Expect(`40/room-1,{*`)
	}
	fixed, dynamic := names()
	if !slices.Equal(fixed, []string{"/", "/fixed"}) || !slices.Equal(dynamic, []string{"/room-1"}) {
		t.Errorf("fixed %q, dynamic %q", fixed, dynamic)
	}
	ns := srv.Of("/room-1")
	if got := ns.RoomCount(); got != 4 || ns.Len() != 3 {
		t.Errorf("%d rooms, %d sockets; there are one for all and one for each of 3", got, ns.Len())
	}
	for _, w := range peers {
		w.Write(`41/room-1,`)
	}
	eventually(t, func() bool { _, dynamic := names(); return len(dynamic) == 0 && ns.RoomCount() == 0 })
}
