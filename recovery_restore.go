package sockeye

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// restoring is a socket whose peer asks to be another one.
type restoring struct {
	s      *Socket
	pid    string // "": a new socket, before anybody knows where the bus is
	offset clientOffset
	had    string // the offset as it was given; "": it has got no event
	until  time.Time
	wait   time.Duration // until it is tried again

	taken  bool
	stored storedSession
	was    string
	told   bool
}

const (
	restoreTimeout = 2 * time.Second
	readTimeout    = 10 * time.Second
	maxRestores    = 32        // at a time, of a namespace
	replayBytes    = 256 << 10 // of events, or a single one, are read at once, for each who is back

	restoreAgain    = 5 * time.Millisecond // after which it is tried again, at first
	maxRestoreAgain = 100 * time.Millisecond
)

// prepare restores a socket, if its peer asks for that: then prepared goes on. Loop-owned.
func (h *shared) prepare(s *Socket) bool {
	var asked struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	who := s.identity
	who.owner = h.token(s)
	if auth := who.auth; len(auth) > 0 && h.ns.srv.unmarshal(auth, &asked) != nil {
		asked.PID = ""
	}
	r := &restoring{s: s, pid: asked.PID, had: strings.TrimRight(asked.Offset, " "), until: time.Now().Add(restoreTimeout)}
	if r.pid != "" {
		ok := isPID(r.pid)
		if ok && r.had != "" {
			r.offset, ok = h.parseOffset(asked.Offset)
		}
		if !ok {
			r.pid = ""
			h.count(func(st *RecoveryStats) { st.Missed++ })
		}
	}
	if r.pid == "" && h.bus.Position() != "" {
		return false
	}
	s.mu.Lock()
	s.extra().refused = true // no hook is called for it yet
	s.mu.Unlock()
	h.submit(func() { h.restore(r) })
	return true
}

// isPID tells whether a text may be a pid: 15 bytes in base64url.
func isPID(text string) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(text) == 20 && len(b) == 15
}

func (h *shared) count(f func(s *RecoveryStats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}

// submit has f called by one of the namespace's goroutines.
func (h *shared) submit(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restores.Push(f)
	if h.workers < maxRestores {
		h.workers++
		go h.work()
	}
}

func (h *shared) work() {
	for {
		h.mu.Lock()
		if h.restores.Len() == 0 {
			h.workers--
			h.mu.Unlock()
			return
		}
		f := h.restores.Pop()
		h.mu.Unlock()
		f()
	}
}

// restore goes on with r, now or again later.
func (h *shared) restore(r *restoring) {
	if r.s.life.state().over() {
		return // its session has an owner: whoever asks next
	}
	b, again := h.tryRestore(r)
	if again && time.Now().Before(r.until) {
		r.wait = min(2*r.wait+restoreAgain, maxRestoreAgain)
		time.AfterFunc(r.wait, func() { h.submit(func() { h.restore(r) }) })
		return
	}
	p := &prepared{h: h, back: b, stored: r.stored, pid: r.pid}
	if b == nil {
		p.pid = engine.NewID()
		if h.bus.Position() == "" {
			p.pid = "" // it cannot come back
		}
	}
	h.mu.Lock()
	switch {
	case b != nil:
		h.stats.Recovered++
		h.byPID[r.pid] = r.s
	case r.pid != "":
		h.stats.Missed++
	}
	h.mu.Unlock()
	if b == nil && r.taken {
		go h.dropSession(r.pid, r.s.who().owner)
	}
	r.s.engineSession().Loop().Post(preparedOnLoop, r.s, p, 0)
}

// dropSession writes that a session is over.
func (h *shared) dropSession(pid, owner string) {
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	_, _ = h.bus.PutSessions(ctx, []broadcast.StoredSession{{PID: h.key(pid), Owner: owner, Lease: h.cfg.MaxDisconnection}}) // or it expires
}

// tryRestore is nil for a new socket; again tells that it may become another later.
func (h *shared) tryRestore(r *restoring) (b *back, again bool) {
	if h.bus.Position() == "" {
		return nil, true
	}
	if r.pid == "" {
		return nil, false
	}
	ctx, cancel := context.WithDeadline(context.Background(), r.until)
	defer cancel()
	if !r.taken {
		if h.unwritten(r) {
			return nil, true
		}
		data, was, err := h.bus.TakeSession(ctx, h.key(r.pid), r.s.who().owner, h.lease())
		if err != nil {
			return nil, true
		}
		if data == nil {
			return nil, false
		}
		r.taken, r.was = true, was
		if json.Unmarshal(data, &r.stored) != nil || r.stored.Namespace != h.ns.name || r.stored.ID == "" {
			return nil, false
		}
	}
	from := r.stored.Since.Offset
	if r.had != "" {
		if order, ok := h.bus.Compare(from, r.offset.at); ok && order < 0 {
			from = r.offset.at
		}
	}
	if judged := r.stored.Judged; judged != "" {
		if order, ok := h.bus.Compare(from, judged); !ok || order < 0 {
			return nil, false
		}
	}
	h.mu.Lock()
	here, early := h.at(), h.early != 0
	before, local := h.byPID[r.pid], h.owners[r.was]
	if before == nil || before == r.s {
		before = local
	}
	if before == r.s || before != nil && before.who().gone { // it is out of the index, then
		before = nil
	}
	if before != nil {
		before.who().taken = true
	}
	h.mu.Unlock()
	if before != nil {
		before.endTaken()
		return nil, true // when it has gone
	}
	if !r.told {
		r.told = true
		h.tellTaken(r.stored.ID, r.was)
	}
	if order, ok := h.bus.Compare(from, here); early || !ok || order > 0 {
		return nil, ok || early // this server has not got as much as the peer
	}
	if err := h.fits(ctx, &r.stored.places, from, here); err != nil {
		return nil, !errors.Is(err, broadcast.ErrTrimmed)
	}
	b = &back{h: h, s: r.s, id: r.stored.ID, offset: r.offset, had: cmp.Or(r.had, from), next: from, upto: here}
	b.places = r.stored.places
	for {
		got, seen, err := b.read(ctx)
		switch {
		case errors.Is(err, broadcast.ErrTrimmed):
			b.drop()
			return nil, false
		case err != nil:
			b.drop()
			return nil, true
		}
		b.add(got)
		if b.offset.origin == "" || seen { // what its server has delivered early is found
			return b, false
		}
		if b.next == b.upto {
			b.drop()
			return nil, true
		}
	}
}

// unwritten tells whether this server still has to write the session that a peer asks for,
// and ends the socket that has it: the bus may not know yet where that is.
func (h *shared) unwritten(r *restoring) bool {
	h.mu.Lock()
	before := h.byPID[r.pid]
	_, ending := h.ending[r.pid]
	live := before != nil && before != r.s && !before.who().gone
	h.mu.Unlock()
	if live {
		before.endTaken()
	}
	return live || ending
}

var errAhead = errors.New("sockeye: this server has not got as much")

// fits tells whether the places of rooms, also of those that it has left, behind an offset are
// still places of the bus: one that has lost its end gives them to other events, which came
// when the socket was in.
func (h *shared) fits(ctx context.Context, p *places, from, here string) error {
	offsets := map[string]struct{}{}
	for _, at := range p.Rooms {
		offsets[at.Offset] = struct{}{}
	}
	for _, l := range p.Left {
		offsets[l.From.Offset], offsets[l.To.Offset] = struct{}{}, struct{}{}
	}
	for at := range offsets {
		if order, ok := h.bus.Compare(from, at); !ok || order >= 0 {
			continue
		}
		if order, ok := h.bus.Compare(at, here); !ok || order > 0 {
			return errAhead
		}
		if _, _, err := h.bus.Read(ctx, at, here, nil, 1); err != nil {
			return err
		}
	}
	return nil
}

// prepared is what has become of a restoring.
type prepared struct {
	h      *shared
	back   *back // nil: a new socket
	stored storedSession
	pid    string
}

// preparedOnLoop goes on with a connect.
func preparedOnLoop(a, b any) {
	s, p := a.(*Socket), b.(*prepared)
	if s.life.state().over() {
		if p.back != nil {
			p.back.drop()
			p.h.mu.Lock()
			if p.h.byPID[p.pid] == s { // it went before it was known by that name
				delete(p.h.byPID, p.pid)
			}
			p.h.mu.Unlock()
		}
		return
	}
	who := s.identity
	p.h.mu.Lock()
	who.pid = p.pid
	if p.back != nil {
		who.back, who.places = p.back, p.stored.places.clone()
		s.member.ID = p.stored.ID
	}
	p.h.mu.Unlock()
	var data any
	if p.back != nil && len(p.stored.Data) > 0 {
		s.ns.srv.protect("Recovery", func() { data = p.h.data(p.stored.Data) })
	}
	s.mu.Lock()
	s.data = data
	s.extra().refused = false
	if p.back != nil {
		s.extra().rooms = slices.Collect(maps.Keys(p.stored.places.Rooms))
	}
	s.mu.Unlock()
	s.push(mail{kind: mailConnect})
}

// data is what SetData has kept, from JSON.
func (h *shared) data(b []byte) (v any) {
	if h.cfg.Data != nil {
		return h.cfg.Data(b)
	}
	_ = json.Unmarshal(b, &v) // it is JSON
	return v
}

// back is what a socket that is back has still to get: what lies between two offsets, some
// of which, about replayBytes, is in memory.
type back struct {
	// Immutable.
	h      *shared
	s      *Socket
	id     string
	offset clientOffset
	had    string // what the client has got last: an offset
	places places // as they were: what was joined since is behind upto

	// Who reads: one at a time.
	next string

	// Loop-owned, once it is prepared.
	upto     string
	messages []*engine.Message
	bytes    int // of memory of messages
	reading  bool
}

// reachTo sets the end: from there on the socket gets what comes. It is not being read.
func (b *back) reachTo(upto string) { b.upto = upto }

// read reads on: messages for the socket, and whether what the offset's server has handed
// out early is among what was read.
func (b *back) read(ctx context.Context) (list []*engine.Message, seen bool, err error) {
	rooms := slices.AppendSeq([]string{b.id}, maps.Keys(b.places.Rooms))
	events, next, err := b.h.bus.Read(ctx, b.next, b.upto, rooms, replayBytes)
	if err != nil {
		return nil, false, err
	}
	b.next = next
	for _, e := range events {
		if e.Origin == b.offset.origin && e.Number != 0 && e.Number <= b.offset.number {
			seen = seen || e.Number == b.offset.number
			continue
		}
		if e.Target.Volatile || !b.places.allow(b.h.bus, e.Target.Rooms, e.Target.Except, b.id, e) {
			continue
		}
		msg, err := b.h.ns.encodePayload(e.Payload, noAck, e.Offset)
		if err != nil {
			continue // nobody has got it
		}
		msg.NoCompress = e.Target.NoCompress
		msg.Charge(b.h.ns.srv.group.Memory())
		b.h.replayed.Add(int64(msg.Memory()))
		list = append(list, msg)
	}
	return list, seen, nil
}

// add adds what has been read.
func (b *back) add(list []*engine.Message) {
	b.messages = append(b.messages, list...)
	for _, msg := range list {
		b.bytes += msg.Memory()
	}
}

// empty tells whether there is nothing. Loop-owned.
func (b *back) empty() bool { return len(b.messages) == 0 && !b.reading && b.next == b.upto }

// take takes the next message; nil if it is still to be read. Loop-owned.
func (b *back) take() *engine.Message {
	if len(b.messages) > 0 {
		msg := b.messages[0]
		b.messages[0] = nil
		b.messages = b.messages[1:]
		b.gone(msg)
		return msg
	}
	if !b.reading {
		b.reading = true
		end := time.Now().Add(readTimeout)
		b.h.submit(func() { b.readOn(end) })
	}
	return nil
}

// readOn reads some more.
func (b *back) readOn(end time.Time) {
	if b.s.life.state().over() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	list, _, err := b.read(ctx)
	cancel()
	if err != nil && !errors.Is(err, broadcast.ErrTrimmed) && time.Now().Before(end) {
		time.AfterFunc(10*restoreAgain, func() { b.h.submit(func() { b.readOn(end) }) })
		return
	}
	b.s.engineSession().Loop().Post(readOnLoop, b.s, &someMore{list, err}, 0)
}

type someMore struct {
	list []*engine.Message
	err  error
}

func readOnLoop(x, y any) {
	s, m := x.(*Socket), y.(*someMore)
	b := s.who().back
	b.reading = false
	b.add(m.list)
	switch {
	case s.life.state().over():
		b.drop()
	case m.err != nil:
		cause := CauseServerLate
		if errors.Is(m.err, broadcast.ErrTrimmed) {
			cause = CauseMemory
		}
		s.engineSession().CloseNowFor(ForcedClose, cause, "what the peer has missed cannot be read: "+m.err.Error())
	default:
		s.pump(false)
	}
}

// gone counts off a message.
func (b *back) gone(msg *engine.Message) {
	n := msg.Memory()
	b.bytes -= n
	b.h.replayed.Add(-int64(n))
}

// drop forgets it. Loop-owned.
func (b *back) drop() {
	for _, m := range b.messages {
		b.gone(m)
		m.Release()
	}
	b.messages = nil
}
