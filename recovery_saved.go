package sockeye

import (
	"container/list"
	"math/bits"
	"slices"
	"time"
)

// savedSocket is a socket that may come back, or has.
type savedSocket struct {
	id, pid string
	rooms   []string
	rights  rights
	data    any
	at      time.Duration
	last    uint64        // the last event that was handed to its session, or that its peer has said that it has; 0 for none
	owed    uint64        // the first event that was for it and has not been handed to its session
	place   *list.Element // in order

	missed missedEvents // once it is back: the events up to next
	next   uint64
}

// rights say from when on a socket may see what: the offsets of the first events
// that were sent after it had entered the namespace, and joined each of its rooms.
//
// Guarded by history.mu.
type rights struct {
	since  uint64
	joined map[string]uint64
	left   []leftRoom // in the order of leaving
	judged uint64     // what it had no right to before is not known any more
}

// leftRoom is a room that a socket was in, from one offset to before another, while events
// were sent to all but such a room.
type leftRoom struct {
	name     string
	from, to uint64
}

// maxLeft is how many rooms that a socket has left are remembered.
const maxLeft = 64

// join notes that a socket is in a room, from an offset on, if it was not before.
func (r *rights) join(room string, at uint64) {
	if _, in := r.joined[room]; in {
		return
	}
	if r.joined == nil {
		r.joined = map[string]uint64{}
	}
	r.joined[room] = at
}

// leaves notes that it is not any more. What it was excepted from meanwhile stays so.
func (h *history) leaves(r *rights, room string) {
	from, in := r.joined[room]
	delete(r.joined, room)
	if !in || from > h.except || h.except < h.first {
		return
	}
	r.left = slices.DeleteFunc(r.left, func(l leftRoom) bool { return l.to <= h.first })
	if len(r.left) == maxLeft {
		r.judged = r.left[0].to
		r.left = slices.Delete(r.left, 0, 1)
	}
	r.left = append(r.left, leftRoom{room, from, h.end()})
}

// in tells whether it was in a room when an event was sent.
func (r *rights) in(room string, offset uint64) bool {
	if from, in := r.joined[room]; in && from <= offset {
		return true
	}
	return slices.ContainsFunc(r.left, func(l leftRoom) bool { return l.name == room && l.from <= offset && offset < l.to })
}

// find tells where a socket that has gone is: it may come back, it has come back as
// another, or neither. mu is held.
func (h *history) find(s *Socket) (away bool, back *Socket) {
	pid := s.who().pid
	if _, coming := h.coming[pid]; coming || h.saved[pid] != nil {
		return true, nil
	}
	if back = h.ns.Socket(s.member.ID); back == s {
		back = nil
	}
	return false, back
}

// forget takes a saved socket out. mu is held.
func (h *history) forget(s *savedSocket) {
	delete(h.saved, s.pid)
	h.order.Remove(s.place)
	h.bytes -= s.memory()
}

func (s *savedSocket) memory() int {
	n := savedBytes
	for _, room := range s.rooms {
		n += 2*len(room) + 64
	}
	for _, l := range s.rights.left {
		n += len(l.name) + 32
	}
	return n
}

// away tells whether sockets may still come back.
func (h *history) away() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.order.Len() > 0
}

// save remembers a socket that has gone. mu is held.
func (h *history) save(s *savedSocket) {
	s.at, s.owed = time.Since(started), h.end()
	h.own(s, max(s.last+1, s.rights.since), func(offset uint64) bool {
		s.owed = min(s.owed, offset)
		return false
	})
	h.saved[s.pid] = s
	s.place = h.order.PushBack(s)
	h.bytes += s.memory()
	h.trim(s.at)
}

// own calls f with the offsets, from one on, of the events that s had a right to, log
// by log; f tells whether it wants more of that log. mu is held.
func (h *history) own(s *savedSocket, from uint64, f func(offset uint64) (more bool)) {
	look := func(l *log, from uint64) {
		if l == nil {
			return
		}
		offsets := l.offsets.All()
		i, _ := slices.BinarySearch(offsets, from)
		for _, offset := range offsets[i:] {
			if s.mayHave(h.events.at(int(offset-h.first))) && !f(offset) {
				return
			}
		}
	}
	look(&h.toAll, from)
	look(h.direct[s.id], from)
	look(h.logs[s.id], from)
	for _, room := range s.rooms {
		look(h.logs[room], max(from, s.rights.joined[room]))
	}
}

// mayHave tells whether s is not excepted from an event that was sent to it.
func (s *savedSocket) mayHave(e *pastEvent) bool {
	return e.more == nil || e.more.exceptID != s.id && !slices.ContainsFunc(e.more.except, func(name string) bool {
		return name == s.id || s.rights.in(name, e.offset)
	})
}

// restore finds the socket that a CONNECT packet's auth object asks for: the pid
// of the connection before, and the offset of the last event that came.
func (h *history) restore(auth []byte, unmarshal func([]byte, any) error) *savedSocket {
	var asked struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if len(auth) == 0 || unmarshal(auth, &asked) != nil || asked.PID == "" {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trim(time.Since(started))
	s := h.saved[asked.PID]
	if s == nil {
		h.stats.Missed++
		return nil
	}
	has, ok := h.parseOffset(asked.Offset) // all that was for it, up to there
	switch {
	case asked.Offset == "":
		has = s.rights.since - 1 // it has got no event
	case !ok || has >= h.end():
		has = s.last // a text of the application's: what was handed over is taken to have come
	}
	from := has + 1
	if has >= s.last {
		from = max(from, s.owed)
	}
	if from = max(from, s.rights.since); from < max(h.first, s.rights.judged) {
		h.stats.Missed++
		return nil
	}
	h.forget(s)
	h.coming[s.pid] = struct{}{}
	h.stats.Recovered++
	s.last, s.next, s.missed.h = has, from, h
	h.collect(s)
	return s
}

// collect gives a socket that is back the events that it has missed. mu is held.
func (h *history) collect(s *savedSocket) (complete bool) {
	if s.next < h.first {
		return false
	}
	var offsets []uint64
	h.own(s, s.next, func(offset uint64) bool {
		offsets = append(offsets, offset)
		return true
	})
	slices.Sort(offsets)
	for _, offset := range slices.Compact(offsets) {
		s.missed.add(h.events.place(int(offset - h.first)))
	}
	s.next = h.end()
	return true
}

// enter gives a socket that has come back, and is in rooms again, what was sent to those
// that it had meanwhile: everything later is delivered as usual. mu is held, since before
// the socket was admitted.
func (h *history) enter(s *Socket, rooms []string) {
	who := s.who()
	r, saved := &who.rights, who.saved
	if saved == nil {
		r.since = h.end()
	} else {
		delete(h.coming, who.pid)
		*r = saved.rights
		if !h.collect(saved) { // MaxBytes have been sent while middlewares were asked
			s.engineSession().CloseFor(ForcedClose, CauseMemory, "Recovery.MaxBytes are spent: what the peer has missed is no longer kept")
		}
		for _, room := range leftOf(saved.rooms, rooms) {
			h.leaves(r, room)
		}
	}
	for _, room := range rooms {
		r.join(room, h.end())
	}
}

// leftOf are the rooms that a socket was in before, and is not in now.
func leftOf(before, now []string) (left []string) {
	if len(now) >= len(before) && slices.Equal(now[:len(before)], before) {
		return nil // as most: no middleware has taken it out of any
	}
	for _, room := range before {
		if !slices.Contains(now, room) {
			left = append(left, room)
		}
	}
	return left
}

// join puts a socket into rooms, and notes from when on it may see what is sent to them.
func (h *history) join(s *Socket, rooms []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ns.rooms.Join(&s.member, rooms...) {
		return false
	}
	for _, room := range rooms {
		s.who().rights.join(room, h.end())
	}
	return true
}

func (h *history) leave(s *Socket, room string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns.rooms.Leave(&s.member, room) {
		h.leaves(&s.who().rights, room)
	}
}

// recoverable tells whether a socket that went for this reason may come back.
func recoverable(r Reason) bool {
	switch r {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShuttingDown, ForcedServerClose:
		return true
	}
	return false
}

// remember lets the socket come back, to the rooms that it was in, its own first. It is
// on its loop, and mu is held since before it went.
func (h *history) remember(s *Socket, rooms []string) {
	who := s.who()
	saved, first := &savedSocket{id: s.member.ID, pid: who.pid, data: s.Data(), last: who.last}, s.unhanded()
	if len(rooms) > 0 {
		saved.rooms, saved.rights = rooms[1:], who.rights // its own comes with the ID
	} else if was := who.saved; was != nil { // it had not come back yet
		saved.rooms, saved.rights, saved.data = was.rooms, was.rights, was.data
		if first == 0 && was.next < h.first {
			first = was.next // what was sent meanwhile is not kept
		}
	}
	h.save(saved)
	if first != 0 { // the history may not have it any more
		saved.owed = min(saved.owed, first)
	}
}

// unhanded is the first event that waits to be handed to a socket's session; 0 for none.
// It is on its loop, and history.mu is held.
func (s *Socket) unhanded() uint64 {
	was := s.who().saved
	if was != nil && len(was.missed.runs) > 0 {
		run := was.missed.runs[0]
		return run.block.events[bits.TrailingZeros64(run.set)].offset
	}
	if s.held != nil {
		for _, msg := range s.held.messages {
			if msg.Tag != 0 {
				return msg.Tag
			}
		}
	}
	return 0
}
