package sockeye

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// endedSession is of a socket that has gone.
type endedSession struct {
	s    *Socket
	keep bool // it may come back
}

const (
	sessionBatch = 256
	busTimeout   = 2 * time.Second // for one question to the bus
	writeBackoff = 200 * time.Millisecond
	renewBatches = 20 // a renewal is spread
)

// lease is how long a live socket's session stays.
func (h *shared) lease() time.Duration { return h.cfg.MaxDisconnection + h.cfg.MaxDisconnection/2 }

// key names a session on the bus. A pid has 20 characters, none of which is a slash.
func (h *shared) key(pid string) string { return pid + h.ns.name }

// token makes an owner.
func (h *shared) token(s *Socket) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens++
	owner := h.bus.Origin() + "/" + strconv.FormatUint(h.tokens, 10)
	h.owners[owner] = s
	return owner
}

// touch has a socket's session written. mu is held.
func (h *shared) touch(s *Socket) {
	if who := s.who(); who.gone || who.pid == "" {
		return
	}
	h.dirty[s] = struct{}{}
	h.write()
}

func (h *shared) write() {
	if h.written == nil && !h.closed {
		h.written = make(chan struct{})
		go h.writeAll()
	}
	if h.renewal == nil && !h.closed {
		h.renewal = time.AfterFunc(h.lease()/3, h.renew)
	}
}

// renew has all sessions written again.
func (h *shared) renew() {
	members := h.ns.rooms.Members(broadcast.Options{})
	h.mu.Lock()
	h.renewal = nil
	h.mu.Unlock()
	for i, m := range members {
		h.mu.Lock()
		if m.Owner.(*Socket).life.state() < dismissed {
			h.touch(m.Owner.(*Socket))
		}
		closed := h.closed
		h.mu.Unlock()
		if closed {
			return
		}
		if i%sessionBatch == sessionBatch-1 { // no burst
			time.Sleep(min(h.lease()/3/renewBatches, 50*time.Millisecond))
		}
	}
}

// left is told of a socket that has gone, and may come back or not.
func (h *shared) left(s *Socket, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := s.who()
	delete(h.owners, who.owner)
	delete(h.dirty, s)
	who.gone = true
	if h.byPID[who.pid] == s {
		delete(h.byPID, who.pid)
	}
	if who.pid == "" || who.taken {
		return
	}
	if len(h.over) >= h.cfg.MaxSockets {
		h.stats.Expired++ // what was written before expires later
		return
	}
	h.over = append(h.over, endedSession{s, keep})
	h.ending[who.pid] = struct{}{}
	h.write()
}

// writeAll writes until nothing is to be written.
func (h *shared) writeAll() {
	for {
		h.mu.Lock()
		if len(h.dirty)+len(h.over) == 0 || h.closed && len(h.dirty) > 0 && len(h.over) == 0 {
			h.writesNoMore()
			h.mu.Unlock()
			return
		}
		var live []*Socket
		ended := h.over[:min(len(h.over), sessionBatch)]
		for s := range h.dirty {
			if len(live)+len(ended) >= sessionBatch {
				break
			}
			live = append(live, s)
		}
		list := make([]broadcast.StoredSession, 0, len(live)+len(ended))
		records := make([]storedSession, 0, cap(list))
		add := func(s *Socket, lease time.Duration) {
			who := s.who()
			list = append(list, broadcast.StoredSession{PID: h.key(who.pid), Owner: who.owner, Lease: lease})
			records = append(records, storedSession{Namespace: h.ns.name, ID: s.ID(), places: who.places.clone()})
		}
		var wait []*Socket // whose peers are to be told
		for _, s := range live {
			delete(h.dirty, s)
			add(s, h.lease())
			if who := s.who(); who.admitted {
				who.admitted = false
				wait = append(wait, s)
			}
		}
		for _, e := range ended {
			add(e.s, h.cfg.MaxDisconnection)
		}
		h.mu.Unlock()
		for i := range list { // the Codec is anybody's
			s := (*Socket)(nil)
			if i < len(live) {
				s = live[i]
			} else if e := ended[i-len(live)]; e.keep {
				s = e.s
			} else {
				continue
			}
			h.ns.srv.protect("Recovery", func() {
				if v := s.Data(); v != nil {
					if data, err := h.ns.srv.cfg.Codec.Marshal(v); err == nil && json.Valid(data) {
						records[i].Data = data
					}
				}
			})
			list[i].Data, _ = json.Marshal(records[i]) // it is JSON
		}
		ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
		lost, err := h.bus.PutSessions(ctx, list)
		cancel()
		h.mu.Lock()
		if err != nil {
			for _, s := range live {
				if !s.who().gone {
					h.dirty[s] = struct{}{}
				}
			}
		} else {
			h.over = append(h.over[:0:0], h.over[len(ended):]...)
			for _, e := range ended {
				delete(h.ending, e.s.who().pid)
			}
		}
		closed := h.closed
		var taken []*Socket
		for _, i := range lost {
			if i < len(live) {
				live[i].who().taken = true
				taken = append(taken, live[i])
			}
		}
		h.mu.Unlock()
		for _, s := range wait {
			s.engineSession().Loop().Post(writtenOnLoop, s, nil, 0)
		}
		for _, s := range taken {
			s.endTaken()
		}
		if err != nil {
			h.ns.srv.log.Warn("sessions", "sockeye: sessions cannot be written", "namespace", h.ns.name, "sessions", len(list), "error", err)
			if closed {
				h.mu.Lock()
				h.over = nil
				clear(h.ending)
				h.writesNoMore()
				h.mu.Unlock()
				return
			}
			time.Sleep(writeBackoff)
		}
	}
}

// writesNoMore tells close. mu is held.
func (h *shared) writesNoMore() {
	close(h.written)
	h.written = nil
}

// admitted has the session written before the peer is told that it is in. Loop-owned.
func (h *shared) admitted(s *Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.who().admitted = true
	h.touch(s)
}

// writtenOnLoop tells the peer that it is in, when its session has been written, or could
// not be.
func writtenOnLoop(a, _ any) {
	s := a.(*Socket)
	if s.held != nil && s.held.unwritten {
		s.held.unwritten = false
		s.pump(false)
	}
}

// endTaken ends a socket that has come back elsewhere.
func (s *Socket) endTaken() { s.engineSession().Loop().Post(endTakenOnLoop, s, nil, 0) }

func endTakenOnLoop(a, _ any) {
	s := a.(*Socket)
	if !s.life.state().over() {
		s.engineSession().CloseNowFor(ForcedClose, CauseReplaced, "the peer has come back by another connection")
	}
}

// takenEvent tells the other servers that a socket has come back: its ID, and its owner
// before.
const takenEvent = internalPrefix + "taken"

// tellTaken tells the server of a session's owner before.
func (h *shared) tellTaken(id, was string) { h.ns.tellServers(takenEvent, id, was) }

// hear is what another server says with takenEvent.
func (h *shared) hear(args Args) {
	var id, was string
	if args.Decode(&id, &was) != nil {
		return
	}
	here := h.ns.Socket(id)
	h.mu.Lock()
	s := h.owners[was]
	switch {
	case s != nil:
		s.who().taken = true
	case here != nil: // who took it from here may have been killed before it told: the record says whose it is
		h.touch(here)
	}
	h.mu.Unlock()
	if s != nil {
		s.endTaken()
	}
}

// close writes what is to be written, until ctx is done.
func (h *shared) close(ctx context.Context) {
	h.mu.Lock()
	h.closed = true
	for _, t := range []*time.Timer{h.timer, h.renewal} {
		if t != nil {
			t.Stop()
		}
	}
	for h.pending.Len() > 0 { // who gets it elsewhere gets it by the bus
		h.popEarly()
	}
	written := h.written
	h.mu.Unlock()
	if written != nil {
		select {
		case <-ctx.Done():
		case <-written:
		}
	}
}
