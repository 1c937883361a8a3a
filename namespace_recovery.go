package sockeye

import (
	"bytes"
	"cmp"
	"container/list"
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

	// MaxBytes bounds the memory of what a namespace keeps, beside what sockets that
	// are back have still to get. When there is more,
	// the oldest are dropped, and a socket that would need one of them comes
	// back as a new one. Default 16 MiB.
	MaxBytes int

	// MaxSockets bounds the sockets that a namespace remembers; the one that has
	// been away for longest is forgotten for one more. Default 100,000.
	MaxSockets int

	// Data makes the value that SetData had kept of its JSON, for a socket that comes back
	// by an Adapter that keeps sessions. It must not block. Default: what encoding/json
	// makes of it for an any.
	Data func(data []byte) any
}

func (r *Recovery) skipMiddlewares() bool { return r != nil && !r.AskMiddlewares }

func (r Recovery) withDefaults() *Recovery {
	r.MaxDisconnection = cmp.Or(r.MaxDisconnection, 2*time.Minute)
	r.MaxBytes = cmp.Or(r.MaxBytes, 16<<20)
	r.MaxSockets = cmp.Or(r.MaxSockets, 100_000)
	return &r
}

// RecoveryStats are counters of connection state recovery.
type RecoveryStats struct {
	Recovered uint64 // sockets that came back as themselves
	Missed    uint64 // sockets that asked to, but are not known any more, or whose events are not
	Expired   uint64 // that did not come back in time, or were forgotten for others
	Sockets   int    // remembered at present
	Bytes     int    // of memory, of what is kept at present

	// With an Adapter that keeps sessions: Sockets are this server's own that can come
	// back, and Bytes of what is on its way between the bus and sockets.
}

// history is what a namespace remembers: the events of the last minutes, and
// the sockets that may come back. Each event has an offset, which its peers get
// with it; the log of each room that has been addressed has the offsets of its
// events, so that who comes back looks at nothing that was not for it.
//
// An event is replayed to who had a right to it when it was sent: it was in the
// namespace, and in the room, whatever offset it claims to have seen.
type history struct {
	// Immutable after newHistory.
	ns    *Namespace
	cfg   *Recovery
	epoch string // tells this history's offsets from others

	// Guarded by mu. It is held while an event is handed to the loops, so that
	// every socket gets events in the order of their offsets. Nobody waits, and no
	// function of the application's runs, while it is held.
	mu      sync.Mutex
	events  pastEvents      // by offset, without gaps
	first   uint64          // the offset of the first of events
	bytes   int             // of memory
	pinned  int             // of memory, of events that are kept for missedEvents alone
	chunk   *chunk          // the last small events' bytes are in it; nil for none
	spare   *chunk          // of no event; nil for none
	logs    map[string]*log // by the name that was addressed: a room, or an ID
	direct  map[string]*log // by the ID of the only one addressed
	toAll   log
	saved   map[string]*savedSocket // by pid
	coming  map[string]struct{}     // pids of those that are coming back: middlewares are being asked
	order   list.List               // of *savedSocket, by the time of leaving
	except  uint64                  // the offset of the last event that rooms were excepted from; 0 for none
	timer   *time.Timer             // forgets what is old, while there is anything
	stats   RecoveryStats
	charged int // of bytes and pinned, to the group's memory
}

// started is what the times of events count from.
var started = time.Now()

func newHistory(ns *Namespace, cfg *Recovery) *history {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return &history{
		ns: ns, cfg: cfg, epoch: base64.RawURLEncoding.EncodeToString(b[:]), first: 1,
		logs: map[string]*log{}, direct: map[string]*log{}, saved: map[string]*savedSocket{}, coming: map[string]struct{}{},
	}
}

// noOffset stands in an encoded event for its offset, which is as long.
const noOffset = "\u2042offset\u2042"

// offsetDigits are base64url's.
const offsetDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// setOffset gives an encoded event its offset.
func (h *history) setOffset(msg *engine.Message, n uint64) {
	var text [len(noOffset)]byte
	copy(text[:], h.epoch)
	for i := len(text) - 1; i >= len(h.epoch); i-- {
		text[i] = offsetDigits[n%64]
		n /= 64
	}
	at := len(msg.B) - len(noOffset+`"]`) // in JSON
	if at < 0 || string(msg.B[at:at+len(noOffset)]) != noOffset {
		h.ns.srv.replaceOffset(msg, noOffset, string(text[:]))
		return
	}
	copy(msg.B[at:], text[:])
}

// replaceOffset puts an offset into what a Parser has encoded, in place of a text as long.
func (srv *Server) replaceOffset(msg *engine.Message, place, offset string) {
	at := bytes.LastIndex(msg.B, []byte(place))
	if at < 0 {
		srv.log.Error("Parser", "sockeye: Config.Parser writes texts in another form: sockets do not come back with what they have missed")
		return
	}
	copy(msg.B[at:], offset)
}

// parseOffset reads an offset of this history.
func (h *history) parseOffset(text string) (n uint64, ok bool) {
	if len(text) != len(noOffset) || text[:len(h.epoch)] != h.epoch {
		return 0, false
	}
	b, err := base64.RawURLEncoding.AppendDecode([]byte{0, 0}, []byte(text[len(h.epoch):]))
	if err != nil || len(b) != 8 { // it skips newlines
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// end is the offset that the next event gets. mu is held.
func (h *history) end() uint64 { return h.first + uint64(h.events.len()) }

// encode encodes an event with a place for its offset, which every event has that
// asks for no answer: peers take any text at an event's end for one.
func (h *history) encode(event string, args []any) (*engine.Message, error) {
	srv := h.ns.srv
	if srv.cfg.Parser != nil {
		return srv.encodeEvent(h.ns.name, event, append(slices.Clip(args), noOffset), noAck)
	}
	msg, err := srv.encodeEvent(h.ns.name, event, args, noAck)
	if err != nil {
		return nil, err
	}
	return withOffset(msg), nil
}

// withOffset makes a place for the offset of an event in JSON.
func withOffset(msg *engine.Message) *engine.Message {
	msg.B = append(msg.B[:len(msg.B)-len("]")], `,"`+noOffset+`"]`...)
	return msg.Seal()
}

// broadcastRecorded serves this server's own sockets, with an offset, and remembers msg
// unless it is volatile: that has the offset of the one before.
func (ns *Namespace) broadcastRecorded(op Operator, msg *engine.Message) error {
	h := ns.history
	if err := ns.rooms.WaitForSpace(op.o); err != nil {
		msg.Release()
		return ns.closedErr(err)
	}
	op.o.NoWait = true
	msg.NoCompress = op.noCompress
	h.mu.Lock()
	defer h.mu.Unlock()
	if op.o.Volatile {
		h.setOffset(msg, h.end()-1)
	} else {
		h.record(msg, &op.o)
	}
	return op.send(ns, msg)
}

// emitRecorded is Socket.emit, likewise. It is posted as without recovery; what a
// middleware emits is not remembered.
func (s *Socket) emitRecorded(event string, args []any, em emission) error {
	h := s.ns.history
	msg, err := h.encode(event, args)
	if err != nil {
		return err
	}
	if err := s.engineSession().Loop().WaitForSpace(em.context()); err != nil {
		msg.Release()
		return err
	}
	em.noWait = true
	msg.NoCompress = em.noCompress
	h.mu.Lock()
	if s.life.state() == gone { // it has gone while it was waited for
		h.mu.Unlock()
		msg.Release()
		return s.emitGone(event, args, em)
	}
	defer h.mu.Unlock()
	switch saved := s.who().saved; {
	case s.life.state() == asking && saved != nil: // before what it has missed
		h.setOffset(msg, saved.last)
	case em.volatile || s.life.state() == asking:
		h.setOffset(msg, h.end()-1)
	default:
		h.record(msg, &broadcast.Options{Member: &s.member})
	}
	s.count(tallyEventsOut)
	s.post(msg, em)
	return nil
}

// emitAway keeps what is emitted for a socket that may come back, or gives it to the
// one that it has come back as.
func (s *Socket) emitAway(event string, args []any, em emission) error {
	h := s.ns.history
	h.mu.Lock()
	away, back := h.find(s)
	h.mu.Unlock()
	if !away && back == nil {
		return ErrDisconnected
	}
	if !em.told {
		em.told = true
		s.ns.tellOutgoing(s, event, args, false)
	}
	if back != nil {
		return back.emit(event, args, em)
	}
	msg, err := h.encode(event, args)
	if err != nil {
		return err
	}
	defer msg.Release()
	msg.NoCompress = em.noCompress
	h.mu.Lock()
	if away, _ = h.find(s); away {
		h.record(msg, &broadcast.Options{Member: &s.member})
	}
	h.mu.Unlock()
	if !away { // it has come back, or was forgotten
		return s.emitAway(event, args, em)
	}
	return nil
}

// record gives msg its offset and keeps a copy. mu is held.
func (h *history) record(msg *engine.Message, o *broadcast.Options) {
	offset := h.end()
	h.setOffset(msg, offset)
	msg.Tag = offset
	e := h.events.push()
	e.offset, e.at, e.plain, e.takes = offset, time.Since(started), msg.NoCompress, eventBytes
	var more pastMore
	payload, parts, binary := msg.Payload()
	e.binary = binary
	e.data, e.chunk = h.copy(payload)
	for _, p := range parts {
		more.parts = append(more.parts, bytes.Clone(p))
	}
	e.takes += len(e.data)
	for _, p := range more.parts {
		e.takes += len(p) + 24
	}
	if more.except = slices.Clone(o.Except); more.except != nil {
		h.except = offset
	}
	for _, x := range more.except {
		e.takes += len(x) + 16
	}
	if m := o.ExceptMember; m != nil {
		more.exceptID = m.ID
	}
	switch {
	case o.Member != nil:
		e.log = h.directLog(e, o.Member)
	case len(o.Rooms) == 0:
		e.log = &h.toAll
	default:
		e.log = h.logOf(e, h.logs, o.Rooms[0])
		for _, name := range o.Rooms[1:] {
			if l := h.logOf(e, h.logs, name); l != e.log && !slices.Contains(more.logs, l) {
				more.logs = append(more.logs, l)
			}
		}
	}
	e.log.offsets.Push(offset)
	for _, l := range more.logs {
		e.takes += 16
		l.offsets.Push(offset)
	}
	if more.parts != nil || more.logs != nil || more.except != nil || more.exceptID != "" {
		e.more = new(pastMore)
		*e.more = more
		e.takes += moreBytes
	}
	h.bytes += e.takes
	h.trim(e.at)
}

// logOf is the log of a name; e pays for a new one.
func (h *history) logOf(e *pastEvent, in map[string]*log, name string) *log {
	l := in[name]
	if l == nil {
		l = &log{in: in, name: name}
		in[name] = l
		e.takes += 2*len(name) + 128
	}
	return l
}

// directLog is the log of what only m is addressed by.
func (h *history) directLog(e *pastEvent, m *broadcast.Member) *log {
	s, _ := m.Owner.(*Socket)
	if s == nil || s.identity == nil {
		return h.logOf(e, h.direct, m.ID)
	}
	l := s.identity.direct
	if l == nil || l.offsets.Len() == 0 { // it may have been dropped
		l = h.logOf(e, h.direct, m.ID)
		s.identity.direct = l
	}
	return l
}

// copy copies an event's bytes: small ones share a chunk, c. mu is held.
func (h *history) copy(b []byte) (own []byte, c *chunk) {
	if len(b) >= ownBytes {
		return bytes.Clone(b), nil
	}
	if h.chunk == nil || len(h.chunk.b)+len(b) > cap(h.chunk.b) {
		if h.chunk != nil && h.chunk.events == 0 {
			h.giveBack(h.chunk)
		}
		if h.spare == nil {
			h.spare = &chunk{b: make([]byte, 0, chunkBytes)}
		}
		h.chunk, h.spare = h.spare, nil
	}
	c = h.chunk
	from := len(c.b)
	c.b = append(c.b, b...)
	c.events++
	return c.b[from:len(c.b):len(c.b)], c
}

// giveBack keeps a chunk without events for the next ones. mu is held.
func (h *history) giveBack(c *chunk) {
	c.b = c.b[:0]
	h.spare = c
}

// clear forgets what an event is. mu is held.
func (h *history) clear(e *pastEvent) {
	if c := e.chunk; c != nil {
		if c.events--; c.events == 0 && c != h.chunk {
			h.giveBack(c)
		}
	}
	*e = pastEvent{}
}

// message is the event as it was sent.
func (e *pastEvent) message() *engine.Message {
	msg := engine.NewMessage(e.binary)
	msg.B = append(msg.B, e.data...)
	msg.NoCompress, msg.Tag = e.plain, e.offset
	if e.more != nil {
		for _, p := range e.more.parts {
			part := engine.NewMessage(true)
			part.B = append(part.B, p...)
			msg.Attach(part)
		}
	}
	return msg.Seal()
}

// trim forgets what is too old, or too much. mu is held.
func (h *history) trim(now time.Duration) {
	old := now - h.cfg.MaxDisconnection
	for h.events.len() > 0 && (h.events.at(0).at < old || h.bytes > h.cfg.MaxBytes) {
		h.drop()
	}
	for h.order.Len() > 0 {
		s := h.order.Front().Value.(*savedSocket)
		if s.at >= old && len(h.saved) <= h.cfg.MaxSockets {
			break
		}
		h.forget(s)
		h.stats.Expired++
	}
	h.charge()
	if h.timer == nil && h.events.len()+h.order.Len() > 0 {
		h.timer = time.AfterFunc(h.cfg.MaxDisconnection/4+time.Millisecond, h.tick)
	}
}

// charge follows a change of what is held. mu is held.
func (h *history) charge() {
	h.ns.srv.group.Memory().Add(h.bytes + h.pinned - h.charged)
	h.charged = h.bytes + h.pinned
}

func (h *history) tick() {
	h.mu.Lock()
	h.timer = nil
	h.trim(time.Since(started))
	empty := h.order.Len() == 0
	h.mu.Unlock()
	if empty {
		h.ns.srv.tidy(h.ns)
	}
}

// drop forgets the oldest event. mu is held.
func (h *history) drop() {
	b, at := h.events.place(0)
	e := &b.events[at]
	h.bytes -= e.takes
	e.log.drop()
	if e.more != nil {
		for _, l := range e.more.logs {
			l.drop()
		}
	}
	if b.pins > 0 {
		b.pinned += e.takes
		h.pinned += e.takes
	} else {
		h.clear(e)
	}
	b.dropped = at + 1
	h.events.pop()
	h.first++
}

func (l *log) drop() {
	if l.offsets.Drop(); l.offsets.Len() == 0 && l.in != nil {
		delete(l.in, l.name)
	}
}

func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
	for h.events.len() > 0 {
		h.drop()
	}
	for h.order.Len() > 0 {
		h.forget(h.order.Front().Value.(*savedSocket))
	}
	h.bytes, h.chunk, h.spare, h.events = 0, nil, nil, pastEvents{}
	h.charge()
}

// RecoveryStats reads the namespace's counters of connection state recovery.
func (ns *Namespace) RecoveryStats() RecoveryStats {
	if h := ns.shared.Load(); h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		s := h.stats
		s.Sockets, s.Bytes = len(h.byPID), h.waiting+int(h.replayed.Load())
		return s
	}
	h := ns.history
	if h == nil {
		return RecoveryStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Sockets, s.Bytes = len(h.saved), h.bytes+h.pinned
	return s
}
