package nats

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

func addNames(f *testing.F) {
	names := append([]string{"", "AAAAAA90123456789012", strings.Repeat("x", 400), "\xff\xfe"}, adaptertest.Names...)
	for i, name := range names {
		f.Add(name, names[len(names)-1-i], "0123456789abcdef")
		f.Add("/", name, name)
	}
}

// FuzzSubject: whatever names there are, subjects are valid, are told apart, and say which
// namespace they are of.
func FuzzSubject(f *testing.F) {
	addNames(f)
	f.Fuzz(func(t *testing.T, namespace, room, uid string) {
		at := space("sio", namespace)
		seen := map[string]bool{}
		for _, m := range []*cluster.Message{
			{Type: cluster.Broadcast, Namespace: namespace, Target: broadcast.Target{Rooms: []string{room}}},
			{Type: cluster.Broadcast, Namespace: namespace, Target: broadcast.Target{Rooms: []string{room + "x"}}},
			{Type: cluster.Broadcast, Namespace: namespace + "x", Target: broadcast.Target{Rooms: []string{room}}},
			{Type: cluster.Broadcast, Namespace: namespace},
			{Type: cluster.Heartbeat, Namespace: namespace},
			{Type: cluster.BroadcastAck, Namespace: namespace, To: uid + "y"},
		} {
			s, kind := subject("sio", m)
			if seen[s] {
				t.Fatalf("%q is twice", s)
			}
			seen[s] = true
			if len(s) > 1000 || strings.ContainsAny(s, "*> \t\r\n\x00") || strings.Contains(s, "..") || strings.HasSuffix(s, ".") {
				t.Fatalf("%q is no subject", s)
			}
			if m.Namespace == namespace && (spaceOf("sio", s) != at || !strings.HasPrefix(s, at+".")) {
				t.Fatalf("%q is not of %q", s, at)
			}
			if m.Namespace == namespace && passes(at, s) == (kind == keep) {
				t.Fatalf("%q is of kind %d", s, kind)
			}
			_ = wants(map[string]bool{}, s)
			if len(room) == idLen && kind == keep && strings.Contains(s, ".sock.") &&
				len(m.Target.Rooms) == 1 && m.Target.Rooms[0] == room && m.Namespace == namespace &&
				!wants(map[string]bool{at + ".sock." + token(room[:serverLen]) + ".>": true}, s) {
				t.Fatalf("%q is not among its server's", s)
			}
		}
	})
}
