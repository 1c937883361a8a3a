package sim

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// checkClient checks what a client that is still there has got.
func (w *world) checkClient(c *client) {
	if c.open && c.sid == "" && c.honest() && !w.cfg.tight && w.cfg.descriptors >= 1000 && w.kernel.Now()-c.since > 3*time.Second {
		c.fault("answer", "it has waited for a session for %v", w.kernel.Now()-c.since)
	}
	if !c.open || c.sid == "" || c.strange {
		return
	}
	for _, s := range c.seats {
		if s.state == seatAsking && c.honest() && !w.cfg.tight && len(w.kernel.backlog) == 0 {
			c.fault("answer", "its CONNECT to %s has not been answered", s.ns)
		}
		if s.state != seatIn || s.inexact || s.unchecked || s.peer.out || s.dropped {
			continue
		}
		if s.peer.last.nonce != s.nonce {
			continue // it has come back meanwhile
		}
		w.count("clients at the end", 1)
		w.ledger.checkComplete(s.peer)
		if got := s.peer.last.events; got != s.sent && c.queue == nil {
			c.fault("event order", "%d of its %d events in %s have been handled", got, s.sent, s.ns)
		}
		for id := range uint64(len(c.asked)) {
			if q := c.asked[id]; q.must && q.nonce == s.nonce && q.answers == 0 {
				c.fault("answer", "%d (%s) in %s has not been answered", id, q.event, s.ns)
			}
		}
		if !slices.Contains(w.srv.Of(s.ns).Sockets(), s.peer.last.s) {
			c.fault("member", "it is not among the sockets of %s", s.ns)
		}
	}
}

// checkMemory checks that what is held is within its budget, as far as it can be: a
// message more, and what is held by those who hold too little to be ended.
func (w *world) checkMemory() {
	used := w.srv.Stats().Net.MemoryBytes
	if limit := w.cfg.maxMemory + 100_000 + int64(len(w.kernel.fds))*8_000 + w.secureBytes(); used > limit {
		w.fault("memory", "%d bytes are charged; %d are the limit", used, w.cfg.maxMemory)
	}
	if used < 0 {
		w.fault("memory", "%d bytes are charged", used)
	}
}

// checkEmpty checks that nobody has left anything behind.
func (w *world) checkEmpty() {
	st := w.srv.Stats()
	for _, x := range []struct {
		what string
		n    int
	}{
		{"sessions", st.Engine.Sessions},
		{"connections", st.Net.Open},
		{"descriptors", w.kernel.held()},
		{"bytes of memory charged", int(st.Net.MemoryBytes)},
		{"active sockets", st.ActiveSockets},
		{"workers", st.Workers},
		{"panics of callbacks", int(st.Net.CallbackPanics)},
	} {
		if x.n != 0 {
			w.fault("left", "%d %s", x.n, x.what)
		}
	}
	for _, ns := range []string{"/", "/a", "/d1", "/d2"} {
		n := w.srv.Of(ns)
		if n.Len() != 0 || len(n.Sockets()) != 0 {
			w.fault("left", "%d sockets in %s, %d of them found", n.Len(), ns, len(n.Sockets()))
		}
		for _, room := range slices.Concat(ownRooms, looseRooms) {
			if k := len(n.To(room).Sockets()); k > 0 {
				w.fault("left", "%d sockets in room %s of %s", k, room, ns)
			}
		}
	}
	for i, counts := range w.rooms {
		for _, room := range slices.Sorted(maps.Keys(counts)) {
			if counts[room] != 0 {
				w.fault("rooms", "OnRoom of namespace %d has told of %d in %q that have not left", i, counts[room], room)
			}
		}
	}
	if d, ok := w.kernel.nextAlarm(); ok {
		w.fault("left", "a timer, due in %v", d)
	}
}

// checkEnd checks what can be said when the server has been closed.
func (w *world) checkEnd() {
	w.ledger.checkCalls(true)
	for _, l := range w.lives {
		if l.accepted && l.disconnects != 1 {
			w.fault("life", "OnDisconnect of l%d has been called %d times", l.name, l.disconnects)
		}
	}
	if n := w.kernel.held(); n > 0 {
		w.fault("left", "%d descriptors after Close", n)
	}
	time.Sleep(time.Minute)
	if n, stacks := bubble(); n > 0 {
		w.fault("goroutines", "%d are left", n)
		w.note("%s", stacks)
	}
	if st := w.srv.Stats().Net; Secure {
		w.count("handshakes", int(st.TLSHandshakes))
		w.count("by crypto/tls", int(st.TLSKept))
		w.count("faults of TLS", int(st.TLSFaults))
	}
	w.count("lives", len(w.lives))
	w.count("entries", len(w.ledger.entries))
	w.count("steps", w.steps)
}

// bubble counts the goroutines of the bubble but for the caller.
func bubble() (n int, stacks string) {
	b := make([]byte, 1<<20)
	all := strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n")
	_, own, _ := strings.Cut(all[0], "synctest bubble ")
	own, _, _ = strings.Cut(own, "]")
	for _, g := range all[1:] {
		head, _, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "synctest bubble "+own+"]") && !strings.Contains(g, "testing.") {
			n++
			stacks += g + "\n\n"
		}
	}
	return n, stacks
}
