package sockeye

import (
	"time"

	"github.com/sockeye-io/sockeye/internal/presence"
)

// ID is the server's name in its sids.
func (srv *Server) ID() string { return srv.id }

// Peers are how many other servers are heard of.
func (srv *Server) Peers() int {
	p := srv.peers.Load()
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.known)
}

// PeerIDs are their names.
func (srv *Server) PeerIDs() (ids []string) {
	p := srv.peers.Load()
	p.mu.RLock()
	defer p.mu.RUnlock()
	for id := range p.known {
		ids = append(ids, id)
	}
	return ids
}

// LinkSecret is what opens the link.
func (srv *Server) LinkSecret() string { return srv.peers.Load().secret }

// ForgetSilent tells how many of one server, last heard of at the beginning, are known when
// that has been looked at after some times.
func ForgetSilent(a Adapter, after ...time.Duration) int {
	begin := time.Now()
	p := &peers{srv: &Server{cfg: Config{Adapter: a}}, known: map[string]*peer{"server": {heard: begin}}}
	for _, d := range after {
		p.forgetSilent(begin.Add(d))
	}
	return len(p.known)
}

// SeenAfterStop tells whether a server that was heard of age before this process was stopped is
// seen when it looks again, stop after it last did; and a lease later without a word of it.
func SeenAfterStop(lease, age, stop time.Duration) (seen, later bool) {
	begin := time.Unix(1000, 0)
	v := &roomView{view: presence.NewView(lease)}
	v.view.Apply(&presence.Update{Room: "room", Server: "a", Joined: []presence.Member{{ID: "x"}}, Part: 1, Parts: 1}, begin.Add(-age))
	ps := &presences{views: map[string]*roomView{"room": v}, source: presence.NewSource("b", lease), looked: begin, due: begin.Add(lease / 6)}
	now := begin.Add(stop)
	ps.look(now, lease)
	seen = len(v.view.Members()) > 0
	for end := now.Add(lease + lease/6); now.Before(end); {
		ps.due = now.Add(lease / 6)
		now = ps.due
		ps.look(now, lease)
	}
	return seen, len(v.view.Members()) > 0
}

// HoldPresence has everything that concerns presence wait, until release is called.
func (ns *Namespace) HoldPresence() (release func()) {
	ns.presence.mu.Lock()
	return ns.presence.mu.Unlock
}

// LimitWatched bounds the rooms that other servers follow.
func (ns *Namespace) LimitWatched(n int) {
	ns.presence.start(ns)
	ns.presence.mu.Lock()
	defer ns.presence.mu.Unlock()
	ns.presence.max = n
}

// LimitServerEvents bounds what waits for OnServerSide's handlers. It comes before any.
func (ns *Namespace) LimitServerEvents(bytes int) { ns.servers.maxBytes = bytes }

// WatchFor has this server tell of a room, as another server would.
func (ns *Namespace) WatchFor(room string) bool {
	return ns.presence.watchHere(ns, room, false)
}

// Watched is how many rooms this server tells of.
func (ns *Namespace) Watched() int {
	ns.presence.mu.Lock()
	defer ns.presence.mu.Unlock()
	return ns.presence.source.Len()
}

// SetClaimClock sets the greatest time of a claim that the server has heard of.
func (ns *Namespace) SetClaimClock(at time.Time) {
	ns.claims.mu.Lock()
	defer ns.claims.mu.Unlock()
	ns.claims.clock = at.UnixNano()
}

// SetClaimed has a key have been claimed at another time, by the server's clock of then.
func (ns *Namespace) SetClaimed(key string, at time.Time) {
	ns.claims.mu.Lock()
	defer ns.claims.mu.Unlock()
	ns.claims.clock, ns.claims.byKey[key].at = at.UnixNano(), at.UnixNano()
}

// Claimed is when a key was claimed by a socket of this server; 0 for none.
func (ns *Namespace) Claimed(key string) int64 {
	ns.claims.mu.Lock()
	defer ns.claims.mu.Unlock()
	if c := ns.claims.byKey[key]; c != nil {
		return c.at
	}
	return 0
}
