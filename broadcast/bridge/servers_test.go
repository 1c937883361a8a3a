package bridge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// TestCallServers: the server that joins the two sides asks both; another one its own side
// alone, of which the joining server is, while those behind get the event without a wish for
// an answer.
func TestCallServers(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	br := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	onA, onB, both := start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	names := []string{"onA", "onB", "both"}
	all := []*server{onA, onB, both}
	heard := make(chan string, 10)
	for i, s := range all {
		s.reaches(t, all...)
		s.OnServerSide("who", func(e *sockeye.ServerEvent) {
			heard <- fmt.Sprint(names[i], e.HasAck())
			_ = e.Ack(names[i])
		})
	}
	for i, want := range []string{
		"[both] [bothtrue onBfalse]",
		"[both] [bothtrue onAfalse]",
		"[onA onB] [onAtrue onBtrue]",
	} {
		list, err := all[i].CallServers(t.Context(), "who")
		var answers, events []string
		for _, args := range list {
			var name string
			_ = args.Decode(&name)
			answers = append(answers, name)
		}
		for range 2 {
			select {
			case e := <-heard:
				events = append(events, e)
			case <-time.After(20 * time.Second):
				t.Fatal("an event has not come")
			}
		}
		slices.Sort(answers)
		slices.Sort(events)
		if got := fmt.Sprint(answers, " ", events); got != want || err != nil {
			t.Errorf("%s: %s, %v, not %s", names[i], got, err, want)
		}
		if n, err := all[i].Servers(t.Context()); n != len(answers)+1 || err != nil {
			t.Errorf("%s counts %d, %v", names[i], n, err)
		}
	}
}

// TestClaimBehind: a claim replaces who holds the key on the other side; one that is older than
// that, by clocks that differ, is replaced itself.
func TestClaimBehind(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	onB := start(t, b.Adapter(t, o))
	other := b.Adapter(t, o)
	r, err := other.Join(nobody{onB.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	// Server B's clock is an hour ahead: it has heard of one that was.
	onB.OnServerSide("heard", func(e *sockeye.ServerEvent) { _ = e.Ack() })
	future := fmt.Appendf(nil, `["sockeye:claim","other",%d,"x"]`, time.Now().Add(time.Hour).UnixNano())
	adaptertest.Eventually(t, "it has heard", func() bool {
		_ = r.ServerEvent(broadcast.Payload{JSON: future})
		answers, err := r.CallServers(t.Context(), broadcast.Payload{JSON: []byte(`["heard"]`)})
		return err == nil && len(answers) == 1
	})
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim := func(s *server, id string) {
		t.Helper()
		if err := s.Socket(id).Claim(t.Context(), "key"); err != nil && !errors.Is(err, sockeye.ErrReplaced) {
			t.Error(err)
		}
	}
	idB := onB.c.ID()
	claim(onB, idB)
	br := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	onA, both := start(t, a.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	onA.reaches(t, onB, both)
	onB.reaches(t, onA, both)
	idA := onA.c.ID()
	claim(onA, idA)
	adaptertest.Eventually(t, "one of the two is left", func() bool { return onA.Socket(idA) == nil })
	if onB.Socket(idB) == nil {
		t.Error("nobody is left")
	}
	claim(both, both.c.ID()) // which knows of it, and is newer
	adaptertest.Eventually(t, "it replaces the one behind", func() bool { return onB.Socket(idB) == nil })
}

// TestVoiceless: where one side has no events between servers, claims, presence and calls of
// servers are about the other one, and say so.
func TestVoiceless(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	br := newBridge(t, a.Adapter(t, o), adaptertest.Voiceless{Adapter: b.Adapter(t, o)})
	onA, both := start(t, a.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	onA.reaches(t, both)
	both.OnServerSide("x", func(e *sockeye.ServerEvent) { _ = e.Ack() })
	onA.OnServerSide("x", func(e *sockeye.ServerEvent) { _ = e.Ack() })
	p := both.Presence("red", nil)
	defer p.Close()
	_, err := both.CallServers(t.Context(), "x")
	for what, err := range map[string]error{
		"CallServers": err, "ServerSideEmit": both.ServerSideEmit("x"), "Presence": p.Err(),
		"Claim": both.Socket(both.c.ID()).Claim(t.Context(), "key"),
	} {
		if !errors.Is(err, sockeye.ErrUnsupported) || !strings.Contains(err.Error(), "bridge: b: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_ = onA.Socket(onA.c.ID()).Join("red")
	adaptertest.Eventually(t, "who is on the other side is seen", func() bool { return len(p.Members()) == 1 })
	if err := onA.Socket(onA.c.ID()).Claim(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	adaptertest.Eventually(t, "it is replaced", func() bool { return both.Socket(both.c.ID()) == nil })
	if p := onA.Presence("red", nil); p.Err() != nil {
		t.Error(p.Err())
	}
}
