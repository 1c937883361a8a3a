// Package presence is how servers know who is in a room on all of them: a Source tells what
// changes on one server, a View puts together what all tell. They know no bus and no clock:
// messages may be lost, and are told again; who says nothing for a lease has gone.
//
//	View -- watch, every third of a lease --> Sources
//	Source -- whole, then deltas, and a beat every third of a lease --> Views
//
// Each delta of a room has a number. A View that misses one, or knows nothing of a server,
// asks for the whole again. Its methods are for one goroutine at a time.
package presence

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Member is somebody in a room.
type Member struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"info,omitempty"`
}

// Update is what a server tells of a room.
type Update struct {
	Room   string   `json:"room"`
	Server string   `json:"server"`
	Seq    uint64   `json:"seq"`              // of the last change
	Joined []Member `json:"joined,omitempty"` // of a whole: all, or a part of them
	Left   []string `json:"left,omitempty"`
	Part   int      `json:"part,omitempty"`  // of a whole, from 1
	Parts  int      `json:"parts,omitempty"` // 0: it is a change, or, with neither of the above, a beat
}

func (u *Update) beat() bool { return u.Parts == 0 && len(u.Joined) == 0 && len(u.Left) == 0 }

const (
	partMembers = 1000                  // that an update has at most
	partDelay   = 20 * time.Millisecond // for each part of a whole, between two of them
)

// Source tells of the rooms of one server that are watched.
type Source struct {
	server  string
	lease   time.Duration
	rooms   map[string]*sourceRoom
	dirty   map[string]*sourceRoom // of rooms, those with something to tell
	scanned time.Time              // when all were last looked at
	free    uint64                 // above the seq of each room that has been forgotten
}

type sourceRoom struct {
	started bool
	until   time.Time
	told    time.Time
	seq     uint64
	members map[string]struct{} // as of seq
	pending []change
	whole   bool      // somebody asks for the whole
	next    time.Time // before which a whole of several parts is not told again
}

type change struct {
	id string
	in bool
}

// NewSource makes a Source of a server.
func NewSource(server string, lease time.Duration) *Source {
	return &Source{server: server, lease: lease, rooms: map[string]*sourceRoom{}, dirty: map[string]*sourceRoom{}}
}

// Watch notes that somebody watches a room, and whether the whole is asked for. If it is new
// Start must follow; Note counts from now on.
func (s *Source) Watch(room string, now time.Time, whole bool) (isNew bool) {
	r := s.rooms[room]
	if r == nil {
		// A View that still has the room as it was is not to take it for the same.
		r = &sourceRoom{members: map[string]struct{}{}, seq: s.free}
		s.rooms[room] = r
		isNew = true
	}
	r.until = now.Add(s.lease)
	if r.whole = r.whole || whole || isNew; r.whole {
		s.dirty[room] = r
	}
	return isNew
}

// Start tells who was in the room at some moment since Watch.
func (s *Source) Start(room string, ids []string) {
	r := s.rooms[room]
	if r == nil || r.started {
		return
	}
	for _, id := range ids {
		r.members[id] = struct{}{}
	}
	r.started = true
	s.dirty[room] = r
}

// Note notes that somebody has joined or left a room. It returns whether Tick has something
// to do.
func (s *Source) Note(room, id string, in bool) bool {
	r := s.rooms[room]
	if r == nil {
		return false
	}
	r.pending = append(r.pending, change{id, in})
	s.dirty[room] = r
	return true
}

// Empty tells whether no room is watched.
func (s *Source) Empty() bool { return len(s.rooms) == 0 }

// Len is how many rooms are watched.
func (s *Source) Len() int { return len(s.rooms) }

// Has tells whether a room is watched.
func (s *Source) Has(room string) bool { return s.rooms[room] != nil }

// Tick returns what is to be told to all, but for the members' Info. It costs as much as there
// is to tell; sometimes it looks at all rooms.
func (s *Source) Tick(now time.Time) (list []Update) {
	rooms := s.dirty
	if now.Sub(s.scanned) >= s.lease/12 {
		s.scanned, rooms = now, s.rooms
	}
	for room, r := range rooms {
		switch {
		case now.After(r.until):
			delete(s.rooms, room)
			s.free = max(s.free, r.seq+1)
		case r.started:
			list = s.tell(list, room, r, now)
		default:
			continue // Start is about to come
		}
		if !r.whole {
			delete(s.dirty, room)
		}
	}
	if len(s.dirty) == 0 && len(rooms) > maxKept {
		s.dirty = map[string]*sourceRoom{} // the map does not shrink
	}
	return list
}

// maxKept is how many rooms a map that has become empty may have had.
const maxKept = 1000

func (s *Source) tell(list []Update, room string, r *sourceRoom, now time.Time) []Update {
	joined, left := r.settle()
	if len(joined)+len(left) > 0 {
		r.seq++
	}
	switch {
	case r.whole && !now.Before(r.next) || len(joined)+len(left) > partMembers:
		ids := slices.Sorted(maps.Keys(r.members))
		parts := max(1, (len(ids)+partMembers-1)/partMembers)
		for part := range parts {
			some := ids[part*partMembers : min((part+1)*partMembers, len(ids))]
			list = append(list, Update{Room: room, Server: s.server, Seq: r.seq, Joined: membersOf(some), Part: part + 1, Parts: parts})
		}
		r.whole = false
		if parts > 1 { // however many ask
			r.next = now.Add(time.Duration(parts) * partDelay)
		}
	case len(joined)+len(left) > 0:
		list = append(list, Update{Room: room, Server: s.server, Seq: r.seq, Joined: membersOf(joined), Left: left})
	case now.Sub(r.told) >= s.lease/3:
		list = append(list, Update{Room: room, Server: s.server, Seq: r.seq})
	default:
		return list
	}
	r.told = now
	return list
}

// settle applies what has been noted, and returns what has changed in the end.
func (r *sourceRoom) settle() (joined, left []string) {
	last := map[string]bool{}
	for _, c := range r.pending {
		last[c.id] = c.in
	}
	r.pending = nil
	for _, id := range slices.Sorted(maps.Keys(last)) {
		_, was := r.members[id]
		switch in := last[id]; {
		case in && !was:
			r.members[id] = struct{}{}
			joined = append(joined, id)
		case !in && was:
			delete(r.members, id)
			left = append(left, id)
		}
	}
	return joined, left
}

func membersOf(ids []string) []Member {
	list := make([]Member, 0, len(ids))
	for _, id := range ids {
		list = append(list, Member{ID: id})
	}
	return list
}

// maxServers bounds the servers that a View knows.
const maxServers = 4096

// View is who is in one room, on all servers.
type View struct {
	lease   time.Duration
	servers map[string]*part
	version uint64
}

// part is what one server has told.
type part struct {
	heard    time.Time
	seq      uint64
	complete bool
	members  map[string]json.RawMessage

	// A whole of which parts are missing.
	next   int
	newSeq uint64
	coming map[string]json.RawMessage
}

// NewView makes a View of a room.
func NewView(lease time.Duration) *View { return &View{lease: lease, servers: map[string]*part{}} }

// Lease is how long a server is believed.
func (v *View) Lease() time.Duration { return v.lease }

// Apply takes an update, and tells whether the whole has to be asked for.
func (v *View) Apply(u *Update, now time.Time) (ask bool) {
	p := v.servers[u.Server]
	if p == nil {
		if len(v.servers) >= maxServers {
			return false
		}
		p = &part{}
		v.servers[u.Server] = p
	}
	p.heard = now
	switch {
	case u.Parts > 0:
		return !v.gather(p, u)
	case !p.complete:
		return p.next == 0 // else it is coming
	case u.beat():
		return u.Seq != p.seq
	case u.Seq <= p.seq:
		return false // it is in the whole
	case u.Seq != p.seq+1:
		return true
	}
	p.seq = u.Seq
	for _, m := range u.Joined {
		p.members[m.ID] = m.Info
	}
	for _, id := range u.Left {
		delete(p.members, id)
	}
	v.version++
	return false
}

// gather takes a part of a whole; false if one before it is missing.
func (v *View) gather(p *part, u *Update) bool {
	if u.Part == 1 {
		p.next, p.newSeq, p.coming = 1, u.Seq, map[string]json.RawMessage{}
	}
	if p.next == 0 || u.Part != p.next || u.Seq != p.newSeq {
		p.next, p.coming = 0, nil
		return false
	}
	for _, m := range u.Joined {
		p.coming[m.ID] = m.Info
	}
	if p.next++; u.Part == u.Parts {
		p.members, p.seq, p.complete = p.coming, u.Seq, true
		p.next, p.coming = 0, nil
		v.version++
	}
	return true
}

// Refresh takes all servers as just heard of.
func (v *View) Refresh(now time.Time) {
	for _, p := range v.servers {
		p.heard = now
	}
}

// Expire forgets servers that have not been heard of for a lease.
func (v *View) Expire(now time.Time) {
	for server, p := range v.servers {
		if now.Sub(p.heard) > v.lease {
			delete(v.servers, server)
			v.version++
		}
	}
}

// Version changes when the members do.
func (v *View) Version() uint64 { return v.version }

// Placed is a member, and the server that it is on.
type Placed struct {
	Member
	Server string
}

// Members are those known at present, by ID. An ID on two servers is told of once.
func (v *View) Members() map[string]Placed {
	all := map[string]Placed{}
	for server, p := range v.servers {
		for id, info := range p.members {
			if x, ok := all[id]; !ok || server < x.Server {
				all[id] = Placed{Member{id, info}, server}
			}
		}
	}
	return all
}
