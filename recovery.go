package sockeye

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// Recovery configures connection state recovery: a peer whose connection broke
// comes back within some time as the same socket, with its ID, rooms and data,
// and gets the events that it has missed. Each event that is neither volatile
// nor asks for an answer then carries an offset as a last argument, as the
// reference server's does. In each field 0 means the default.
type Recovery struct {
	// MaxDisconnection is how long a socket may be away. Default 2 min.
	MaxDisconnection time.Duration

	// AskMiddlewares asks the middlewares about recovered sockets as well.
	AskMiddlewares bool

	// MaxBytes bounds the events that a namespace keeps. When there are more,
	// the oldest are dropped, and a socket that would need one of them comes
	// back as a new one. Default 16 MiB.
	MaxBytes int

	// MaxSockets bounds the sockets that a namespace remembers; the one that has
	// been away for longest is forgotten for one more. Default 100,000.
	MaxSockets int
}

func (r *Recovery) skipMiddlewares() bool { return r != nil && !r.AskMiddlewares }

func (r Recovery) withDefaults() *Recovery {
	if r.MaxDisconnection == 0 {
		r.MaxDisconnection = 2 * time.Minute
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = 16 << 20
	}
	if r.MaxSockets == 0 {
		r.MaxSockets = 100_000
	}
	return &r
}

// RecoveryStats are counters of connection state recovery.
type RecoveryStats struct {
	Recovered uint64 // sockets that came back as themselves
	Missed    uint64 // ... that asked to, but are not known (any more), or whose events are not
	Expired   uint64 // that did not come back in time, or were forgotten for others
	Sockets   int    // remembered at present
	Bytes     int    // of events kept at present
}

// history is what a namespace remembers: the events of the last minutes, and
// the sockets that may come back.
type history struct {
	// Immutable after newHistory.
	cfg   *Recovery
	epoch string // tells this history's offsets from others

	// Guarded by mu. It is held while an event is handed to the loops, so that
	// every socket gets events in the order of their offsets.
	mu     sync.Mutex
	events []pastEvent // by offset, without gaps
	first  uint64      // the offset of events[0]
	bytes  int
	saved  map[string]*savedSocket // by pid
	order  []*savedSocket          // by the time of leaving; some have come back
	timer  *time.Timer             // forgets what is old, while there is anything
	stats  RecoveryStats
}

type pastEvent struct {
	at     time.Time
	msg    *engine.Message
	rooms  []string
	except []string
}

// savedSocket is a socket that may come back.
type savedSocket struct {
	id, pid string
	rooms   []string
	data    any
	at      time.Time
	back    bool

	missed []*engine.Message // once it is back: the events up to next
	next   uint64
}

func newHistory(cfg *Recovery) *history {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return &history{cfg: cfg, epoch: base64.RawURLEncoding.EncodeToString(b[:]), saved: map[string]*savedSocket{}, first: 1}
}

// noOffset stands in an encoded event for its offset, which is as long.
const noOffset = "\u2042offset\u2042"

// offset is the text of an offset.
func (h *history) offset(n uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return h.epoch + base64.RawURLEncoding.EncodeToString(b[2:])
}

// parseOffset reads an offset of this history.
func (h *history) parseOffset(text string) (n uint64, ok bool) {
	if len(text) != len(noOffset) || text[:len(h.epoch)] != h.epoch {
		return 0, false
	}
	b, err := base64.RawURLEncoding.AppendDecode([]byte{0, 0}, []byte(text[len(h.epoch):]))
	return binary.BigEndian.Uint64(b), err == nil
}

// broadcastRecorded is broadcast, with an offset, and remembered.
func (ns *Namespace) broadcastRecorded(op Operator, event string, args []any) error {
	msg, err := ns.srv.encodeEvent(ns.name, event, append(slices.Clip(args), noOffset), noAck)
	if err != nil {
		return err
	}
	if err := ns.rooms.WaitForRoom(op.o); err != nil {
		msg.Release()
		return err
	}
	op.o.NoWait = true
	h := ns.history
	h.mu.Lock()
	defer h.mu.Unlock()
	i := bytes.LastIndex(msg.B, []byte(noOffset))
	copy(msg.B[i:], h.offset(h.first+uint64(len(h.events))))
	except := op.o.Except
	if m := op.o.ExceptMember; m != nil {
		except = append(slices.Clip(except), m.ID)
	}
	h.events = append(h.events, pastEvent{time.Now(), msg.Retain(), op.o.Rooms, except})
	msg.Charge(ns.srv.group.Memory())
	h.bytes += msg.Size()
	h.trim(time.Now())
	return op.send(ns, msg)
}

// emitRecorded is Socket.emit, with an offset, and remembered.
func (s *Socket) emitRecorded(event string, args []any, em emission) error {
	if s.life.state().entered() && !em.volatile {
		op := Operator{ns: s.ns, noCompress: em.noCompress, o: broadcast.Options{Member: &s.member}}
		return s.ns.broadcastRecorded(op, event, args)
	}
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, noAck)
	if err != nil {
		return err
	}
	s.post(msg, em)
	return nil
}

// emitAway keeps what is emitted for a socket that may come back.
func (s *Socket) emitAway(event string, args []any, em emission) error {
	return ErrDisconnected
}

// trim forgets what is too old, or too much. mu is held.
func (h *history) trim(now time.Time) {
	old := now.Add(-h.cfg.MaxDisconnection)
	n := 0
	for n < len(h.events) && (h.events[n].at.Before(old) || h.bytes > h.cfg.MaxBytes) {
		h.bytes -= h.events[n].msg.Size()
		h.events[n].msg.Release()
		n++
	}
	h.events = slices.Delete(h.events, 0, n)
	h.first += uint64(n)
	n = 0
	for n < len(h.order) && (h.order[n].back || h.order[n].at.Before(old) || len(h.saved) > h.cfg.MaxSockets) {
		if s := h.order[n]; !s.back {
			delete(h.saved, s.pid)
			h.stats.Expired++
		}
		n++
	}
	h.order = slices.Delete(h.order, 0, n)
	if h.timer == nil && len(h.events)+len(h.order) > 0 {
		h.timer = time.AfterFunc(h.cfg.MaxDisconnection/4+time.Millisecond, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.timer = nil
			h.trim(time.Now())
		})
	}
}

// save remembers a socket that has gone.
func (h *history) save(s *savedSocket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.at, s.back = time.Now(), false
	h.saved[s.pid] = s
	h.order = append(h.order, s)
	h.trim(s.at)
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
	h.trim(time.Now())
	s := h.saved[asked.PID]
	offset, ok := h.parseOffset(asked.Offset)
	if s == nil || !ok || offset+1 < h.first || offset >= h.first+uint64(len(h.events)) {
		h.stats.Missed++
		return nil
	}
	delete(h.saved, s.pid)
	h.stats.Recovered++
	// order keeps the old entry until it is due; a second leaving adds its own.
	s.back = true
	again := *s
	again.next = offset + 1
	h.collect(&again)
	return &again
}

// collect gives a socket that is back the events that it has missed. mu is held.
func (h *history) collect(s *savedSocket) (complete bool) {
	if s.next < h.first {
		return false
	}
	for _, e := range h.events[s.next-h.first:] {
		if e.reaches(s.id, s.rooms) {
			s.missed = append(s.missed, e.msg.Retain())
		}
	}
	s.next = h.first + uint64(len(h.events))
	return true
}

// enter puts a socket into the namespace's index. One that has come back gets
// its rooms, and what was sent to them meanwhile, at one moment: everything
// later is delivered as usual.
func (h *history) enter(s *Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.ns.adapter.Add(&s.member)
	saved := s.who().saved
	if saved == nil {
		return
	}
	s.ns.adapter.Join(&s.member, saved.rooms...)
	if !h.collect(saved) { // MaxBytes have been sent while middlewares were asked
		s.session().Close(ForcedClose)
	}
}

// reaches tells whether an event was for a socket that was in rooms.
func (e *pastEvent) reaches(id string, rooms []string) bool {
	in := func(room string) bool { return room == id || slices.Contains(rooms, room) }
	return (len(e.rooms) == 0 || slices.ContainsFunc(e.rooms, in)) && !slices.ContainsFunc(e.except, in)
}

// recoverable tells whether a socket that went for this reason may come back.
func recoverable(r Reason) bool {
	switch r {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShuttingDown, ForcedServerClose:
		return true
	}
	return false
}

func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
	for _, e := range h.events {
		e.msg.Release()
	}
	h.events, h.order, h.saved, h.bytes = nil, nil, map[string]*savedSocket{}, 0
}

// RecoveryStats reads the namespace's counters of connection state recovery.
func (ns *Namespace) RecoveryStats() RecoveryStats {
	h := ns.history
	if h == nil {
		return RecoveryStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Sockets, s.Bytes = len(h.saved), h.bytes
	return s
}

// release drops the missed events.
func (s *savedSocket) release() {
	for _, msg := range s.missed {
		msg.Release()
	}
	s.missed = nil
}

// remember lets the socket come back, to the rooms that it was in, its own first.
// It is on its loop.
func (s *Socket) remember(rooms []string) {
	if len(rooms) > 0 {
		rooms = rooms[1:] // its own comes with the ID
	}
	if saved := s.who().saved; saved != nil && rooms == nil {
		rooms = saved.rooms // it had not come back yet
	}
	s.ns.history.save(&savedSocket{id: s.member.ID, pid: s.who().pid, rooms: rooms, data: s.Data()})
}
