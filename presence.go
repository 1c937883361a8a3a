package sockeye

import (
	"cmp"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/presence"
)

// Presence follows who is in a room, on all servers. What is known is told by the servers
// themselves: a change arrives some 20 ms later, and a server that is not heard of for
// Config.PresenceLease has gone, with all who were on it. Servers that are not Sockeye's
// tell nothing. While the bus is away this server's own sockets are seen alone, after a
// lease. Err tells whether the others are seen. Its methods may be called from any goroutine.
type Presence struct {
	// Immutable after Namespace.Presence.
	ns   *Namespace
	room string
	f    func(e PresenceEvent) // nil for nobody

	// Guarded by ns.presence.mu.
	view    *roomView
	told    map[string]presence.Placed // what f has been told
	telling bool
	closed  bool
}

// PresentSocket is a socket in a room.
type PresentSocket struct {
	ID     string
	Server string          // names the server that it is on
	Info   json.RawMessage // what that server's PresenceInfo tells of it; nil for nothing
}

// PresenceEvent tells that a socket has come into a room, or gone from it.
type PresenceEvent struct {
	PresentSocket
	Joined bool
}

// presences are what a namespace follows, and what it tells. One goroutine does both while
// there is something to do.
type presences struct {
	// Any goroutine (atomic).
	on      atomic.Bool // once it has been used, for good
	watched atomic.Bool // the source has rooms
	info    callback[func(s *Socket) any]

	// Guarded by mu, which is taken inside the rooms' locks.
	mu      sync.Mutex
	max     int // rooms that are told of for others
	source  *presence.Source
	views   map[string]*roomView
	running bool
	due     time.Time // when the goroutine has to look
	looked  time.Time // when it last looked at all views
	asking  []string  // rooms of which the whole has to be asked for
	wake    chan struct{}
	err     error // of what the others were last told
}

// roomView is a room that somebody here follows.
type roomView struct {
	view    *presence.View
	handles []*Presence
	ask     bool      // the whole has to be asked for
	asked   time.Time // when the others were last told that it is watched
	version uint64    // of view, of which handles know
}

const (
	watchEvent    = internalPrefix + "watch"
	presenceEvent = internalPrefix + "presence"

	presenceDelay = 20 * time.Millisecond // what happens in it is told together
	maxWatched    = 100_000               // rooms that other servers watch here
)

// PresenceInfo sets what other servers are told of this server's sockets in rooms that are
// followed (see Presence): f is called when a socket has joined one, and its result encoded
// as JSON. Set it on each server before there are sockets. f must not block.
func (ns *Namespace) PresenceInfo(f func(s *Socket) any) { ns.presence.info.set(f) }

// Presence follows a room until Close. f, if not nil, is called for each socket that is in
// it, comes, or goes, by one goroutine at a time; who comes and goes while f is busy may be
// left out. It may call anything.
func (ns *Namespace) Presence(room string, f func(e PresenceEvent)) *Presence {
	ps := &ns.presence
	ps.start(ns)
	ps.mu.Lock()
	v := ps.views[room]
	isNew := v == nil
	if isNew {
		v = &roomView{view: presence.NewView(ns.lease()), asked: time.Now()}
		ps.views[room] = v
	}
	p := &Presence{ns: ns, room: room, f: f, view: v, told: map[string]presence.Placed{}}
	v.handles = append(v.handles, p)
	p.tell()
	ps.run(ns, 0)
	ps.mu.Unlock()
	_ = ps.watchHere(ns, room, true)
	if isNew {
		ps.told(ns, ns.tellServers(watchEvent, room, true))
	}
	return p
}

// told notes whether the others could be told something.
func (ps *presences) told(ns *Namespace, err error) {
	ps.mu.Lock()
	isNew := errors.Is(err, ErrUnsupported) && !errors.Is(ps.err, ErrUnsupported)
	ps.err = err
	ps.mu.Unlock()
	if isNew {
		ns.srv.log.Warn("Presence", "sockeye: Presence does not see who is on servers that the Adapter's format has no events for", "namespace", ns.name, "error", err)
	}
}

// Err tells why sockets of other servers may be missing: nil for no reason, ErrUnavailable
// while the bus is away, ErrUnsupported where the Adapter's format has no events between
// servers. Through a bridge it may be about one side.
func (p *Presence) Err() error {
	ps := &p.ns.presence
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.err
}

func (ns *Namespace) lease() time.Duration { return ns.srv.cfg.PresenceLease }

// Members are those who are in the room as far as is known, in no order. This server's own
// are there at once.
func (p *Presence) Members() []PresentSocket {
	ps := &p.ns.presence
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []PresentSocket
	for _, m := range p.view.view.Members() {
		list = append(list, PresentSocket{m.ID, m.Server, m.Info})
	}
	return list
}

// Close ends it. f is not called for what happens later.
func (p *Presence) Close() {
	ps := &p.ns.presence
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for i, h := range p.view.handles {
		if h == p {
			p.view.handles = append(p.view.handles[:i:i], p.view.handles[i+1:]...)
		}
	}
	if len(p.view.handles) == 0 {
		delete(ps.views, p.room)
	}
}

// tell has f told of what it does not know. mu is held.
func (p *Presence) tell() {
	if p.f != nil && !p.telling && !p.closed {
		p.telling = true
		go p.run()
	}
}

// run tells f until it knows all.
func (p *Presence) run() {
	ended := true // by f: runtime.Goexit
	defer func() {
		if ended {
			go p.run()
		}
	}()
	ps := &p.ns.presence
	for {
		ps.mu.Lock()
		var events []PresenceEvent
		if !p.closed {
			events = p.news()
		}
		if len(events) == 0 {
			p.telling, ended = false, false
			ps.mu.Unlock()
			return
		}
		ps.mu.Unlock()
		for _, e := range events {
			p.ns.srv.protect("Presence", func() { p.f(e) })
		}
	}
}

// news is what f has not been told; it counts as told. mu is held.
func (p *Presence) news() (events []PresenceEvent) {
	members := p.view.view.Members()
	for id, m := range p.told {
		if now, ok := members[id]; !ok || now.Server != m.Server {
			events = append(events, PresenceEvent{PresentSocket{id, m.Server, m.Info}, false})
			delete(p.told, id)
		}
	}
	for id, m := range members {
		if _, ok := p.told[id]; !ok {
			events = append(events, PresenceEvent{PresentSocket{id, m.Server, m.Info}, true})
			p.told[id] = m
		}
	}
	return events
}

// start makes it ready.
func (ps *presences) start(ns *Namespace) {
	ps.mu.Lock()
	begin := !ps.on.Swap(true)
	if begin {
		ps.wake = make(chan struct{}, 1)
		ps.max = maxWatched
		ps.views = map[string]*roomView{}
		name := cmp.Or(ns.srv.id, "local")
		ps.source = presence.NewSource(name, ns.lease())
	}
	ps.mu.Unlock()
	if begin {
		ns.rooms.WatchMembers(func(room, id string, in bool) { ps.note(ns, room, id, in) })
	}
}

// note notes a change here. The rooms' locks are held.
func (ps *presences) note(ns *Namespace, room, id string, in bool) {
	if !ps.watched.Load() {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.source.Note(room, id, in) {
		ps.run(ns, presenceDelay)
	}
}

// infoOf is what others are told of a socket.
func (ns *Namespace) infoOf(id string) (info json.RawMessage) {
	f, s := ns.presence.info.get(), ns.Socket(id)
	if f == nil || s == nil {
		return nil
	}
	ns.srv.protect("PresenceInfo", func() {
		if b, err := json.Marshal(f(s)); err == nil {
			info = b
		}
	})
	return info
}

// watchHere has this server tell of a room; false if it tells of too many.
func (ps *presences) watchHere(ns *Namespace, room string, whole bool) bool {
	ps.mu.Lock()
	if _, here := ps.views[room]; !here && ps.source.Len() >= ps.max && !ps.source.Has(room) {
		ps.mu.Unlock()
		return false
	}
	isNew := ps.source.Watch(room, time.Now(), whole)
	ps.watched.Store(true)
	ps.run(ns, 0)
	ps.mu.Unlock()
	if !isNew {
		return true
	}
	var ids []string
	for _, m := range ns.rooms.Members(broadcast.Options{Rooms: []string{room}}) {
		ids = append(ids, m.ID)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.source.Start(room, ids)
	ps.run(ns, 0)
	return true
}

// watchedElsewhere acts on another server's watch. It does not block.
func (ns *Namespace) watchedElsewhere(args Args) error {
	var room string
	var whole bool
	if err := args.Decode(&room, &whole); err != nil {
		return err
	}
	ps := &ns.presence
	ps.start(ns)
	if !ps.watchHere(ns, room, whole) {
		ns.srv.log.Warn("Presence", "sockeye: other servers follow more rooms than are told of", "namespace", ns.name, "rooms", maxWatched)
	}
	return nil
}

// toldElsewhere acts on what another server tells.
func (ns *Namespace) toldElsewhere(args Args) error {
	ps := &ns.presence
	if !ps.on.Load() {
		return nil
	}
	var u presence.Update
	if err := args.Decode(&u); err != nil {
		return err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.apply(ns, &u)
	return nil
}

// apply gives an update to who follows the room. mu is held.
func (ps *presences) apply(ns *Namespace, u *presence.Update) {
	v := ps.views[u.Room]
	if v == nil {
		return
	}
	if v.view.Apply(u, time.Now()) && !v.ask {
		v.ask = true
		ps.asking = append(ps.asking, u.Room)
		ps.run(ns, presenceDelay)
	}
	v.tell()
}

// tell has those told who follow the room, if there are news. mu is held.
func (v *roomView) tell() {
	if n := v.view.Version(); n != v.version {
		v.version = n
		for _, p := range v.handles {
			p.tell()
		}
	}
}

// run has the goroutine look in d at the latest. mu is held.
func (ps *presences) run(ns *Namespace, d time.Duration) {
	at := time.Now().Add(d)
	if !ps.running {
		ps.running, ps.due = true, at
		go ps.loop(ns)
		return
	}
	if at.Before(ps.due) {
		ps.due = at
		select {
		case ps.wake <- struct{}{}:
		default:
		}
	}
}

// loop tells, watches and forgets, until nobody follows anything.
func (ps *presences) loop(ns *Namespace) {
	ended := true // by PresenceInfo's function: runtime.Goexit
	defer func() {
		if ended {
			go ps.loop(ns)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ps.wake:
		case <-ns.srv.closed:
			ended = false
			return
		}
		ps.mu.Lock()
		now := time.Now()
		if wait := ps.due.Sub(now); wait > 0 {
			timer.Reset(wait)
			ps.mu.Unlock()
			continue
		}
		watches, over := ps.look(now, ns.lease())
		if over {
			ps.running, ended = false, false
			ps.mu.Unlock()
			return
		}
		ps.due = now.Add(ns.lease() / 6)
		timer.Reset(ns.lease() / 6)
		ps.mu.Unlock()
		ps.tellOthers(ns, watches)
	}
}

// watchOut is what the others are told of a room that is followed here.
type watchOut struct {
	room  string
	whole bool
}

// look does what is due to the views. mu is held.
func (ps *presences) look(now time.Time, lease time.Duration) (watches []watchOut, over bool) {
	// By a whole round: the process was stopped, and what has come meanwhile may not have been
	// read. Servers beat every half lease at least; that, the round before and the round for
	// which it may be late are less than a lease.
	if now.Sub(ps.due) > lease/6 {
		for _, v := range ps.views {
			v.view.Refresh(now)
		}
	}
	asking := ps.asking
	ps.asking = nil
	over = len(ps.views) == 0 && ps.source.Empty()
	if now.Sub(ps.looked) < lease/12 { // a change somewhere does not cost a look at all
		for _, room := range asking {
			if v := ps.views[room]; v != nil && v.ask {
				watches = append(watches, watchOut{room, true})
				v.ask, v.asked = false, now
			}
		}
		return watches, over
	}
	ps.looked = now
	for room, v := range ps.views {
		if v.ask || now.Sub(v.asked) >= v.view.Lease()/3 {
			watches = append(watches, watchOut{room, v.ask})
			v.ask, v.asked = false, now
		}
		v.view.Expire(now)
		v.tell()
	}
	return watches, over
}

// tellOthers sends what is to be told. No lock is held: PresenceInfo's function is the
// application's.
func (ps *presences) tellOthers(ns *Namespace, watches []watchOut) {
	for _, w := range watches {
		_ = ps.watchHere(ns, w.room, w.whole)
		ps.told(ns, ns.tellServers(watchEvent, w.room, w.whole))
	}
	ps.mu.Lock()
	updates := ps.source.Tick(time.Now())
	ps.watched.Store(!ps.source.Empty())
	ps.mu.Unlock()
	for i := range updates {
		u := &updates[i]
		for j := range u.Joined {
			u.Joined[j].Info = ns.infoOf(u.Joined[j].ID)
		}
		_ = ns.tellServers(presenceEvent, u) // or the next beat tells that something is missing
		ps.mu.Lock()
		ps.apply(ns, u)
		ps.mu.Unlock()
	}
}
