package sockeye

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/fifo"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Connection state recovery by an adapter's bus, which keeps events and sessions, in place
// of a server's own memory: recovery_session.go has what is written of sockets, and
// recovery_restore.go how they come back. docs/decisions/0017 says what happens when.
//
//	Emit -> append -> the bus -> recorded, on every server -> this server's own sockets
//	             \-> pending: to be delivered here, late, if it does not come back

// shared is a namespace's part of it.
type shared struct {
	// Immutable after newShared.
	ns  *Namespace
	cfg *Recovery
	bus broadcast.History

	// Guarded by mu. As with history.mu, it is held while an event is handed to the loops.
	mu       sync.Mutex
	position string            // of the last event that has been handed to the loops; "" before
	number   uint64            // of the last event that this server has appended
	done     uint64            // of the last of them that has been handed to the loops
	early    uint64            // of the last that was handed to them before it had come back; 0: it has
	except   string            // the offset of the last event that somebody was excepted from, or of the first that has come; "" before
	excepts  uint64            // the number of this server's own last one that has not come back; 0 for none
	pending  fifo.Queue[later] // what has not been handed to the loops yet
	waiting  int               // bytes of memory of pending
	timer    *time.Timer       // for the first of pending; nil if there is none
	recent   []recentJoin      // joins that are later than some of pending
	owners   map[string]*Socket
	byPID    map[string]*Socket
	dirty    map[*Socket]struct{} // to be written
	over     []endedSession       // likewise
	ending   map[string]struct{}  // pids of over
	written  chan struct{}        // closed when nothing is to be written; nil while nobody writes
	renewal  *time.Timer
	closed   bool
	restores fifo.Queue[func()]
	workers  int
	stats    RecoveryStats
	tokens   uint64

	// Any goroutine (atomic).
	replayed atomic.Int64 // bytes of memory of what has been read for sockets that are back
}

// later is an event of this server's that is on its way by the bus, or, without a number,
// what keeps its order behind such events.
type later struct {
	number uint64
	at     time.Time
	bytes  int    // of memory
	run    func() // mu is held
}

// payload is an event as the bus takes it. mu is not held.
func (h *shared) payload(event string, args []any) (broadcast.Payload, error) {
	if sio.IsReserved([]byte(event)) {
		return broadcast.Payload{}, fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	return h.ns.srv.payload(event, args)
}

// encode encodes an event but for its offset. mu is not held.
func (h *shared) encode(p broadcast.Payload) (*engine.Message, error) {
	if h.ns.srv.cfg.Parser != nil {
		return h.ns.encodePayload(p, noAck, offsetPlace)
	}
	return h.ns.encodePayload(p, noAck, "")
}

// offsetPlace stands for the offset in what a Config.Parser has encoded, and is longer.
var offsetPlace = noOffset + strings.Repeat(".", 64-len(noOffset))

// setOffset gives an encoded event its offset. mu is held.
func (h *shared) setOffset(msg *engine.Message) { h.putOffset(msg, h.offset()) }

func (h *shared) putOffset(msg *engine.Message, offset string) {
	if h.ns.srv.cfg.Parser == nil {
		encodeOffset(msg, offset)
		return
	}
	if len(offset) > len(offsetPlace) {
		offset = "" // one that nobody can come back with
	}
	h.ns.srv.replaceOffset(msg, offsetPlace, offset+strings.Repeat(" ", len(offsetPlace)-len(offset)))
}

func laterMemory(msg *engine.Message) int { return msg.Memory() + laterBytes }

// recentJoin is a socket that has joined a room, or the namespace, when number was the last
// that had been appended.
type recentJoin struct {
	s      *Socket
	number uint64
}

const (
	patience   = time.Second // how long this server's own sockets wait for the bus
	maxWaiting = 16 << 20    // what waits for it at most: then they get the oldest
	laterBytes = 256         // what a later takes besides its message
)

func newShared(ns *Namespace, cfg *Recovery, bus broadcast.History) *shared {
	return &shared{
		ns: ns, cfg: cfg, bus: bus,
		owners: map[string]*Socket{}, byPID: map[string]*Socket{}, dirty: map[*Socket]struct{}{}, ending: map[string]struct{}{},
	}
}

// recorder is the Local of a namespace with recovery.
type recorder struct{ *local }

var _ broadcast.Recorder = recorder{}

func (r recorder) Recorded(e broadcast.Kept) {
	if h := r.ns().shared.Load(); h != nil {
		h.recorded(e)
		return
	}
	_ = r.Broadcast(e.Payload, e.Target)
}

// sharedPointer is for the adapter's goroutines, which may be earlier than Join's caller.
type sharedPointer = atomic.Pointer[shared]

// broadcast emits to sockets of all servers.
func (h *shared) broadcast(op Operator, event string, args []any) error {
	ns := h.ns
	p, err := h.payload(event, args)
	if err != nil {
		return err
	}
	if err := ns.rooms.WaitForSpace(op.o); err != nil {
		return ns.closedErr(err)
	}
	op.o.NoWait = true
	msg, err := h.encode(p)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if op.o.Volatile || op.o.Local {
		h.inOrder(laterMemory(msg), func() { h.deliver(op, msg, 0) })
		if op.o.Local {
			return nil
		}
		return ns.closedErr(ns.remote.Broadcast(p, op.target()))
	}
	return ns.closedErr(h.append(op, p, msg))
}

// broadcastHere serves this server's own sockets with what has no place among the events.
func (h *shared) broadcastHere(op Operator, p broadcast.Payload) error {
	if err := h.ns.rooms.WaitForSpace(op.o); err != nil {
		return err
	}
	msg, err := h.encode(p)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inOrder(laterMemory(msg), func() { h.deliver(op, msg, 0) })
	return nil
}

// append appends an event, which is p, and msg here. mu is held.
func (h *shared) append(op Operator, p broadcast.Payload, msg *engine.Message) error {
	number, target := h.number+1, op.target()
	if err := h.bus.Append(p, target, number); err != nil {
		h.inOrder(laterMemory(msg), func() { h.deliver(op, msg, 0) })
		return err
	}
	h.number = number
	if len(target.Except) > 0 {
		h.excepts = number
	}
	h.push(later{number: number, bytes: laterMemory(msg), run: func() { h.deliver(op, msg, number) }})
	return nil
}

// inOrder calls f, which holds some memory, when everything that was emitted before has been
// handed to the loops. mu is held, and when f is called.
func (h *shared) inOrder(bytes int, f func()) {
	if h.pending.Len() == 0 {
		f()
		return
	}
	h.push(later{bytes: bytes, run: f})
}

// defers has f called, as inOrder does, if it cannot be called now.
func (h *shared) defers(bytes int, f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending.Len() == 0 {
		return false
	}
	h.push(later{bytes: bytes, run: f})
	return true
}

// defersPost has a message posted, as inOrder does, if it cannot be posted now.
func (h *shared) defersPost(s *Socket, msg *engine.Message, em emission) bool {
	em.inOrder, em.noWait = true, true
	return h.defers(msg.Memory()+laterBytes, func() { s.post(msg, em) })
}

func (h *shared) push(l later) {
	l.at = time.Now()
	h.pending.Push(l)
	h.hold(l.bytes)
	for h.waiting > maxWaiting {
		h.popEarly()
	}
	if h.timer == nil && h.pending.Len() > 0 {
		h.timer = time.AfterFunc(patience, h.late)
	}
}

// hold follows a change of what waits. mu is held.
func (h *shared) hold(bytes int) {
	h.waiting += bytes
	h.ns.srv.group.Memory().Add(bytes)
}

// pop hands on the first of pending. mu is held.
func (h *shared) pop() {
	l := h.pending.Pop()
	h.hold(-l.bytes)
	l.run()
}

// popEarly does it though it has not come back. mu is held.
func (h *shared) popEarly() {
	if n := h.pending.Front().number; n != 0 {
		h.done, h.early = n, n
	}
	h.pop()
}

// late hands on what has not come back in time.
func (h *shared) late() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = nil
	now := time.Now()
	for h.pending.Len() > 0 {
		l := h.pending.Front()
		if wait := patience - now.Sub(l.at); wait > 0 && !h.closed {
			h.timer = time.AfterFunc(wait, h.late)
			return
		}
		h.popEarly()
	}
	h.recent = nil
}

// recorded hands on an event that has come by the bus.
func (h *shared) recorded(e broadcast.Kept) {
	_ = h.ns.rooms.WaitForSpace(broadcast.Options{}) // closed: nobody is here
	own := e.Origin == h.bus.Origin()
	var other *engine.Message
	var err error
	if !own {
		other, err = h.encode(e.Payload)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.except == "" || len(e.Target.Except) > 0 {
		h.except = e.Offset
	}
	if own && e.Number >= h.excepts {
		h.excepts = 0
	}
	switch {
	case own && (e.Number > h.number || e.Number == 0), err != nil: // somebody else's: forged
		h.position = e.Offset
		return
	case !own:
		h.position = e.Offset
		op := (*local)(h.ns).operator(e.Target)
		op.o.NoWait = true
		h.deliver(op, other, 0)
		return
	}
	if e.Number >= h.early {
		h.early = 0
	}
	if e.Number <= h.done { // it was late
		h.position = e.Offset
		return
	}
	for h.pending.Len() > 0 {
		l := *h.pending.Front()
		if l.number > e.Number {
			break
		}
		if l.number == e.Number {
			h.position = e.Offset
		}
		if l.number != 0 {
			h.done = l.number // those before have been lost on their way
		}
		h.pop()
		if l.number == e.Number {
			break
		}
	}
	for h.pending.Len() > 0 && h.pending.Front().number == 0 {
		h.pop()
	}
	if h.pending.Len() == 0 && h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	for len(h.recent) > 0 && h.recent[0].number <= h.done {
		h.recent[0] = recentJoin{}
		h.recent = h.recent[1:]
	}
}

// at is up to where this server's sockets have got everything. mu is held.
func (h *shared) at() string {
	pos := h.bus.Position()
	if h.position == "" {
		return pos
	}
	if order, ok := h.bus.Compare(pos, h.position); ok && order > 0 {
		return pos
	}
	return h.position
}

// offset is what goes with an event: at, and, while events have been handed out that have
// not come back, how many. mu is held.
func (h *shared) offset() string {
	if h.early == 0 {
		return h.at()
	}
	return h.at() + "." + h.bus.Origin() + "." + strconv.FormatUint(h.done, 10)
}

// clientOffset is an offset as a client gives it back.
type clientOffset struct {
	at     string
	origin string // has handed out its events up to number; "" for none
	number uint64
}

func (h *shared) parseOffset(text string) (o clientOffset, ok bool) {
	if len(text) > 128 {
		return o, false
	}
	at, rest, early := strings.Cut(strings.TrimRight(text, " "), ".")
	o.at = at
	if _, ok := h.bus.Compare(at, at); !ok {
		return o, false
	}
	if early {
		origin, number, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || origin == "" || strings.ContainsFunc(origin, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' }) {
			return o, false // nor may it be put into an event
		}
		o.origin, o.number = origin, n
	}
	return o, true
}

// deliver hands an event to the loops: number is that of an own one. mu is held.
func (h *shared) deliver(op Operator, msg *engine.Message, number uint64) {
	h.setOffset(msg)
	if number != 0 && len(h.recent) > 0 {
		op.o.Except = h.exceptRecent(op.o, number)
	}
	op.o.NoWait, op.o.Context = true, nil
	_ = op.send(h.ns, msg) // closed: nobody is here
}

// exceptRecent excepts who has joined after an event was emitted. mu is held.
func (h *shared) exceptRecent(o broadcast.Options, number uint64) []string {
	except := o.Except[:len(o.Except):len(o.Except)]
	for _, r := range h.recent {
		who := r.s.who()
		if r.number >= number && !who.places.allow(h.bus, o.Rooms, nil, r.s.ID(), broadcast.Kept{Origin: h.bus.Origin(), Number: number}) {
			except = append(except, r.s.ID())
		}
	}
	return except
}

// places say since when a socket is where it is. Guarded by shared.mu.
type places struct {
	Since place            `json:"since"`
	Rooms map[string]place `json:"rooms,omitempty"`

	Left   []leftPlace `json:"left,omitempty"`   // rooms that it has left, and may have been excepted from events for
	Judged string      `json:"judged,omitempty"` // what it was excepted from before this offset is not known any more
}

// leftPlace is a room that a socket was in, and since and until when.
type leftPlace struct {
	Room string `json:"room"`
	From place  `json:"from"`
	To   place  `json:"to"`
}

// maxLeftPlaces is how many of them are remembered; each is written with the session.
const maxLeftPlaces = 16

func (p *places) clone() places {
	c := *p
	c.Rooms, c.Left = maps.Clone(p.Rooms), slices.Clone(p.Left)
	return c
}

// place is a place among the events: behind an offset and, of those of one server that were
// on their way then, behind a number.
type place struct {
	Offset string `json:"at"`
	Origin string `json:"by,omitempty"`
	Number uint64 `json:"n,omitempty"`
}

// before tells whether an event is behind p. One that has no offset yet is.
func (p place) before(bus broadcast.History, e broadcast.Kept) bool {
	if e.Number != 0 && e.Origin == p.Origin && e.Number <= p.Number {
		return false
	}
	if e.Offset == "" {
		return true
	}
	order, ok := bus.Compare(p.Offset, e.Offset)
	return ok && order < 0
}

// allow tells whether a socket had a right to an event.
func (p *places) allow(bus broadcast.History, rooms, except []string, id string, e broadcast.Kept) bool {
	in := func(name string) bool {
		if name == id {
			return p.Since.before(bus, e)
		}
		at, ok := p.Rooms[name]
		return ok && at.before(bus, e)
	}
	for _, name := range except {
		if in(name) || slices.ContainsFunc(p.Left, func(l leftPlace) bool { return l.Room == name && l.From.before(bus, e) && !l.To.before(bus, e) }) {
			return false
		}
	}
	if len(rooms) == 0 {
		return p.Since.before(bus, e)
	}
	for _, name := range rooms {
		if in(name) {
			return p.Since.before(bus, e)
		}
	}
	return false
}

// here is the place of what happens now. mu is held.
func (h *shared) here() place {
	return place{Offset: h.at(), Origin: h.bus.Origin(), Number: h.number}
}

// entered notes that a socket has joined something. mu is held.
func (h *shared) entered(s *Socket) {
	if h.number > h.done {
		h.recent = append(h.recent, recentJoin{s, h.number})
	}
	h.touch(s)
}

// join puts a socket into rooms, and notes since when it is there.
func (h *shared) join(s *Socket, rooms []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ns.rooms.Join(&s.member, rooms...) {
		return false
	}
	if h.joins(s, rooms) {
		h.entered(s)
	}
	return true
}

// joins notes since when a socket is in rooms, and tells whether it was not before. mu is
// held.
func (h *shared) joins(s *Socket, rooms []string) (news bool) {
	p := &s.who().places
	if p.Rooms == nil {
		p.Rooms = map[string]place{}
	}
	for _, room := range rooms {
		if _, in := p.Rooms[room]; !in && room != s.ID() {
			p.Rooms[room] = h.here()
			news = true
		}
	}
	return news
}

func (h *shared) leave(s *Socket, room string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns.rooms.Leave(&s.member, room) {
		h.leaves(s, room)
		h.touch(s)
	}
}

// leaves notes that a socket is not in a room any more. What it was excepted from meanwhile
// stays so. mu is held.
func (h *shared) leaves(s *Socket, room string) {
	p := &s.who().places
	from, in := p.Rooms[room]
	delete(p.Rooms, room)
	if !in {
		return
	}
	if order, ok := h.bus.Compare(from.Offset, h.except); ok && order >= 0 && h.excepts == 0 {
		return // as most: nobody was excepted from anything since
	}
	if len(p.Left) == maxLeftPlaces {
		p.Judged = p.Left[0].To.Offset
		p.Left = slices.Delete(p.Left, 0, 1)
	}
	p.Left = append(p.Left, leftPlace{room, from, h.here()})
}

// enter is history.enter. mu is held.
func (h *shared) enter(s *Socket, rooms []string) {
	who := s.who()
	h.byPID[who.pid] = s
	b := who.back
	if b == nil {
		who.places.Since = h.here()
		h.joins(s, rooms)
		h.entered(s)
		return
	}
	if !h.cfg.skipMiddlewares() {
		// They may have taken it out of rooms, and changed its data.
		for room := range who.places.Rooms {
			if !slices.Contains(rooms, room) {
				h.leaves(s, room)
			}
		}
		h.touch(s)
	}
	if h.joins(s, rooms) {
		h.entered(s)
	}
	if b.reachTo(h.at()); h.early != 0 {
		// It has not got what was handed out early, and its offsets would say so.
		s.engineSession().CloseFor(ForcedClose, CauseServerLate, "the bus has become slow while the peer was coming back")
	}
}

// emit is Socket.emit: by the bus, but for what is volatile, or a middleware's.
func (h *shared) emit(s *Socket, event string, args []any, em emission) error {
	ns := h.ns
	p, err := h.payload(event, args)
	if err != nil {
		return err
	}
	if err := s.engineSession().Loop().WaitForSpace(em.context()); err != nil {
		return err
	}
	msg, err := h.encode(p)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	early := s.life.state() == asking
	if !early && !em.volatile && s.recovers() {
		s.count(tallyEventsOut)
		_ = h.append(Operator{ns: ns, o: broadcast.Options{Rooms: []string{s.ID()}}, noCompress: em.noCompress}, p, msg) // or it gets it at once
		return nil
	}
	send := func() {
		if b := s.who().back; early && b != nil { // before what it has missed
			h.putOffset(msg, b.had)
		} else {
			h.setOffset(msg)
		}
		em.noWait, em.inOrder = true, true
		s.post(msg, em)
	}
	s.count(tallyEventsOut)
	if early {
		send()
	} else {
		h.inOrder(laterMemory(msg), send)
	}
	return nil
}

// emitAway emits to a socket that may be back, or come back, on any server.
func (h *shared) emitAway(s *Socket, event string, args []any, em emission) error {
	how := s.DisconnectDetail() // nil: it is going
	if how != nil && !recoverable(how.Reason) || !s.recovers() {
		return ErrDisconnected
	}
	if !em.told {
		h.ns.tellOutgoing(s, event, args, false)
	}
	return h.broadcast(Operator{ns: h.ns, o: broadcast.Options{Rooms: []string{s.ID()}}, noCompress: em.noCompress}, event, args)
}

// encodeOffset puts an offset behind an event's arguments in JSON.
func encodeOffset(msg *engine.Message, offset string) {
	msg.B = append(msg.B[:len(msg.B)-len("]")], `,"`...)
	msg.B = append(append(msg.B, offset...), `"]`...)
	msg.Seal()
}

// storedSession is what is written of a socket.
type storedSession struct {
	Namespace string `json:"nsp"`
	ID        string `json:"sid"`
	places
	Data json.RawMessage `json:"data,omitempty"`
}
