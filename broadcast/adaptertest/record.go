package adaptertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// Record is a namespace without sockets, which keeps what an adapter has it do: each
// event as its JSON, with the rooms in front of it.
type Record struct {
	// Immutable.
	Namespace string // "" is "/"
	ID        string // of the server, 6 characters

	mu   sync.Mutex
	turn sync.Cond
	held bool
	got  []string
}

var _ broadcast.Local = (*Record)(nil)

func (r *Record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn.L = &r.mu
	for r.held {
		r.turn.Wait()
	}
	r.got = append(r.got, fmt.Sprintf(format, args...))
}

// Hold has the namespace block whoever has it do something, or go on.
func (r *Record) Hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn.L = &r.mu
	r.held = on
	r.turn.Broadcast()
}

// Got is what there is.
func (r *Record) Got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Forget forgets it.
func (r *Record) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = nil
}

// Expect waits until exactly want has come, in this order.
func (r *Record) Expect(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = r.Got(); slices.Equal(got, want) {
			return
		}
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%d have come, not %d; number %d is %.200q, not %.200q", len(got), len(want), i, got[i], want[i])
		}
	}
	t.Fatalf("%d have come, not %d: %.500q, not %.500q", len(got), len(want), got, want)
}

// Name, Server, Broadcast and the others are those of broadcast.Local.
func (r *Record) Name() string {
	if r.Namespace == "" {
		return "/"
	}
	return r.Namespace
}

// Server is the server's ID.
func (r *Record) Server() string { return r.ID }

func rooms(t broadcast.Target) string { return strings.Join(t.Rooms, ",") }

// Broadcast keeps "rooms[event,...]", and the sizes of attachments.
func (r *Record) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	text := rooms(t) + string(p.JSON)
	for _, a := range p.Attachments {
		text += fmt.Sprintf(" %d", len(a))
	}
	r.add("%s", text)
	return nil
}

// Call keeps the same; nobody answers.
func (r *Record) Call(p broadcast.Payload, t broadcast.Target, _ time.Duration, _ func(p broadcast.Payload)) (int, error) {
	return 0, r.Broadcast(p, t)
}

// Sockets keeps nothing.
func (r *Record) Sockets(broadcast.Target) []broadcast.SocketInfo { return nil }

// JoinRooms keeps "rooms join …".
func (r *Record) JoinRooms(t broadcast.Target, list []string) { r.add("%s join %q", rooms(t), list) }

// LeaveRooms keeps "rooms leave …".
func (r *Record) LeaveRooms(t broadcast.Target, list []string) { r.add("%s leave %q", rooms(t), list) }

// Disconnect keeps "rooms disconnect …".
func (r *Record) Disconnect(t broadcast.Target, session bool) {
	r.add("%s disconnect %v", rooms(t), session)
}

// ServerEvent keeps "server[event,...]".
func (r *Record) ServerEvent(p broadcast.Payload, _ func(p broadcast.Payload)) {
	r.add("server%s", p.JSON)
}

// HasRoom is true.
func (r *Record) HasRoom(string) bool { return true }

// Rooms are none.
func (r *Record) Rooms() []string { return nil }

// Emit sends an event through an adapter's side of the namespace.
func Emit(t testing.TB, remote broadcast.Remote, json string, rooms ...string) {
	t.Helper()
	if err := remote.Broadcast(broadcast.Payload{JSON: []byte(json)}, broadcast.Target{Rooms: rooms}); err != nil {
		t.Fatal(err)
	}
}

// Meet emits probes from one server until they come to another, and then forgets them.
func Meet(t testing.TB, from broadcast.Remote, to *Record, rooms ...string) {
	t.Helper()
	n := 0
	Eventually(t, "probes come", func() bool {
		n++
		_ = from.Broadcast(broadcast.Payload{JSON: fmt.Appendf(nil, `["probe",%d]`, n)}, broadcast.Target{Rooms: rooms})
		return len(to.Got()) > 0
	})
	end := strings.Join(rooms, ",") + `["met"]`
	Eventually(t, "the last probe comes", func() bool {
		return from.Broadcast(broadcast.Payload{JSON: []byte(`["met"]`)}, broadcast.Target{Rooms: rooms}) == nil
	})
	Eventually(t, "the last probe has come", func() bool { return slices.Contains(to.Got(), end) })
	to.Forget()
}
