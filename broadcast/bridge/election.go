package bridge

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Namespace is where bridges hear of each other, on both sides. Servers do not have it.
const Namespace = "/sockeye-bridge"

const beatEvent = "sockeye:bridge"

// beat is what a bridge tells the others.
type beat struct {
	ID     string `json:"id"`
	AtWork bool   `json:"atWork"`
	Gone   bool   `json:"gone"`
}

// peer is another bridge.
type peer struct {
	beat
	at time.Time // when it was last heard of
}

// maxPeers bounds those that are known, and maxID the bytes of an ID.
const (
	maxPeers = 1000
	maxID    = 64
)

// election finds out which of several bridges is at work.
//
//	state    event                                                            state
//	waits    for a lease: none at work heard of, none lower that waits         at work
//	at work  one at work with a lower name is heard of                         waits
//	at work  it has not told the others for a lease: its process was stopped   waits
//	at work  it hears of another, and was stopped so less than a lease ago     waits
//	waits    it has not told the others for half a lease: it was stopped       waits, for a lease at least
//	any      it hears itself: both sides are the same cluster                  waits, for a lease at least
//
// A bridge that can reach neither side hears of nobody, and stays as it is. So does one that
// was stopped while it knew of no other, until it hears of one.
type election struct {
	// Immutable after startElection.
	br    *Bridge
	id    string
	now   func() time.Time // asked with mu held: who has waited for it may have been stopped
	began time.Time
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	// Any goroutine (atomic).
	said    atomic.Int64 // when the others were last told, since began
	resumed atomic.Int64 // when they were told again after a lease of silence
	others  atomic.Bool  // there are some

	// Guarded by mu.
	mu      sync.Mutex
	remotes [2]broadcast.Remote
	peers   map[string]peer
	since   time.Time // from when on it has listened
	echo    time.Time // when it has heard itself
	atWork  bool
}

func startElection(br *Bridge) (*election, error) {
	e := &election{
		br: br, now: time.Now, id: cluster.NewID(), peers: map[string]peer{}, since: time.Now(), began: time.Now(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	e.resumed.Store(-int64(br.o.Lease))
	for i, side := range br.sides {
		r, err := side.Join(&ear{e: e})
		if err != nil {
			return nil, br.named(i, err)
		}
		e.remotes[i] = r
	}
	go e.run()
	return e, nil
}

func (e *election) run() {
	defer close(e.done)
	t := time.NewTicker(e.br.o.Lease / 4)
	defer t.Stop()
	for {
		e.decide()
		e.say(false)
		select {
		case <-e.stop:
			e.say(true)
			for _, r := range e.remotes {
				r.Close()
			}
			return
		case <-t.C:
		case <-e.wake:
		}
	}
}

// say tells the others.
func (e *election) say(gone bool) {
	e.mu.Lock()
	now := e.now()
	b := beat{e.id, e.atWork && !gone, gone}
	late := b.AtWork && !e.holds(now)
	e.mu.Unlock()
	if late {
		return // decide is to see it
	}
	if e.silent(now) >= e.br.o.Lease {
		e.resumed.Store(int64(now.Sub(e.began)))
	}
	e.said.Store(int64(now.Sub(e.began)))
	text, _ := json.Marshal([]any{beatEvent, b})
	for _, r := range e.remotes {
		_ = r.Broadcast(broadcast.Payload{JSON: text}, broadcast.Target{}) // or the next one tells
	}
}

// holds tells whether the bridge, being at work, may believe so: another one takes over from
// who has not told it for a lease, and passes on what this one has not seen yet. So may one of
// which this one hears only now.
func (e *election) holds(now time.Time) bool {
	lease := e.br.o.Lease
	return !e.others.Load() || e.silent(now) < lease && now.Sub(e.began)-time.Duration(e.resumed.Load()) >= lease
}

// silent is for how long it has not told the others anything.
func (e *election) silent(now time.Time) time.Duration {
	return now.Sub(e.began) - time.Duration(e.said.Load())
}

// decide goes to work, or stops.
func (e *election) decide() {
	e.mu.Lock()
	now := e.now()
	lease := e.br.o.Lease
	late := e.atWork && !e.holds(now)
	deaf := e.silent(now) > lease/2 || e.br.sides[0].Stats().Down && e.br.sides[1].Stats().Down
	if late || !e.atWork && deaf {
		e.since = now
	}
	same := now.Sub(e.echo) < lease
	free, lower, other := !same, false, ""
	for id, p := range e.peers {
		switch {
		case now.Sub(p.at) >= lease:
			delete(e.peers, id)
		case p.AtWork:
			free = false
			if id < e.id {
				lower, other = true, id
			}
		case id < e.id:
			free = false
		}
	}
	e.others.Store(len(e.peers) > 0)
	was := e.atWork
	switch {
	case was && (lower || late || same):
		e.atWork = false
	case !was && free && now.Sub(e.since) >= lease:
		e.atWork = true
	}
	is := e.atWork
	e.mu.Unlock()
	if was == is {
		return
	}
	e.br.work(is)
	names := e.br.o.Names
	switch {
	case same: // hear has told
	case late:
		e.br.o.Logger.Error("bridge: this server was held up for longer than Lease, so another one may have joined the two clusters meanwhile; this one stops", "sides", names, "name", e.id)
	case is:
		e.br.o.Logger.Info("bridge: this server joins the two clusters", "sides", names, "name", e.id)
	default:
		e.br.o.Logger.Error("bridge: two servers have joined the same two clusters at the same time, so messages may have arrived twice; this one stops", "sides", names, "name", e.id, "other", other)
	}
}

// hear takes what another bridge tells.
func (e *election) hear(p broadcast.Payload) {
	var name string
	var b beat
	list := []any{&name, &b}
	if json.Unmarshal(p.JSON, &list) != nil || name != beatEvent || b.ID == "" || len(b.ID) > maxID {
		return
	}
	e.mu.Lock()
	now := e.now()
	if b.ID == e.id {
		e.echo = now
		e.mu.Unlock()
		e.br.log.Error("same", "bridge: both sides are the same cluster, so there is nothing to join", "sides", e.br.o.Names)
		return
	}
	_, known := e.peers[b.ID]
	switch {
	case b.Gone:
		delete(e.peers, b.ID)
	case known || len(e.peers) < maxPeers:
		e.peers[b.ID] = peer{b, now}
		e.others.Store(true)
	}
	urgent := b.Gone || b.AtWork && e.atWork
	e.mu.Unlock()
	if urgent {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

func (e *election) close() {
	close(e.stop)
	<-e.done
}

// ear is Namespace's Local: it has no sockets.
type ear struct{ e *election }

var _ broadcast.Gateway = (*ear)(nil) // so that adapters that cannot be bridged are found out

func (l *ear) Name() string   { return Namespace }
func (l *ear) Server() string { return l.e.id[:6] }
func (l *ear) Broadcast(p broadcast.Payload, _ broadcast.Target) error {
	l.e.hear(p)
	return nil
}

func (l *ear) Call(broadcast.Payload, broadcast.Target, time.Duration, func(broadcast.Payload)) (int, error) {
	return 0, nil
}

func (l *ear) CallElsewhere(context.Context, broadcast.Payload, broadcast.Target, func(broadcast.Payload)) int {
	return 0
}

func (l *ear) SocketsElsewhere(context.Context, broadcast.Target) []broadcast.SocketInfo { return nil }

func (l *ear) Sockets(broadcast.Target) []broadcast.SocketInfo { return nil }
func (l *ear) JoinRooms(broadcast.Target, []string)            {}
func (l *ear) LeaveRooms(broadcast.Target, []string)           {}
func (l *ear) Disconnect(broadcast.Target, bool)               {}
func (l *ear) ServerEvent(_ broadcast.Payload, answer func(broadcast.Payload)) {
	if answer != nil {
		answer(broadcast.Payload{JSON: []byte("[null]")})
	}
}
func (l *ear) HasRoom(string) bool { return true }
func (l *ear) Rooms() []string     { return nil }
