package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

func (m *measurement) newMode() mode {
	switch m.o.mode {
	case "echo":
		e := &echo{measurement: m, senders: len(m.conns)}
		if m.o.senders > 0 {
			e.senders = min(e.senders, m.o.senders)
		}
		if m.o.reply != "" {
			e.reply = load.NewEventName(m.o.reply)
		}
		return e
	case "broadcast":
		b := &broadcast{measurement: m, emitters: 1, on: load.NewEventName(m.o.on), casts: map[int64]*cast{}}
		if m.o.senders >= 0 {
			b.emitters = min(m.o.senders, len(m.conns))
		}
		b.mark = fmt.Appendf(nil, "load-%08x-", rand.Uint32())
		return b
	case "churn":
		return &churn{measurement: m}
	}
	return idle{m}
}

// idle holds the connections.
type idle struct{ *measurement }

func (idle) ready(*load.Conn) {}

func (i idle) message(*load.Conn, *load.Packet) { i.counts.received++ }

func (idle) gone(*load.Conn) {}
func (idle) left(*load.Conn) {}
func (idle) due(int64) int64 { return 0 }
func (idle) check(int64)     {}
func (idle) waiting() bool   { return false }

// echo has connections send, and wait for the answer.
type echo struct {
	*measurement
	senders int
	reply   load.EventName
	flying  int // messages without an answer
}

func (e *echo) ready(c *load.Conn) {
	if !e.traffic || e.o.rate > 0 || c.ID >= e.senders {
		return
	}
	for len(e.users[c.ID].pending) < e.o.window && e.ask(c, e.now()) {
	}
}

// ask sends a message that is due at a time.
func (e *echo) ask(c *load.Conn, at int64) bool {
	u := &e.users[c.ID]
	if len(u.pending) >= maxPending {
		e.fault("not sent", fmt.Sprintf("%d messages of a connection have no answer", maxPending), 1)
		return false
	}
	id := -1
	if e.o.reply == "" {
		id = u.nextID
	}
	if !e.send(c, id, nil) {
		return false
	}
	u.pending = append(u.pending, pending{u.nextID, at})
	u.nextID++
	e.flying++
	return true
}

func (e *echo) message(c *load.Conn, p *load.Packet) {
	u := &e.users[c.ID]
	i := -1
	switch {
	case e.o.reply == "" && p.IsAck():
		i = slices.IndexFunc(u.pending, func(q pending) bool { return q.id == p.ID })
	case e.o.reply != "" && p.IsEvent() && e.reply.Is(p.Data) && len(u.pending) > 0:
		i = 0 // one connection's are answered in order
	}
	if i < 0 {
		return // something else, or an answer that came too late
	}
	e.counts.received++
	e.record(e.now() - u.pending[i].at)
	u.pending = slices.Delete(u.pending, i, i+1)
	e.flying--
	if e.traffic && e.o.rate == 0 {
		e.ask(c, e.now())
	}
}

func (e *echo) gone(c *load.Conn) {
	u := &e.users[c.ID]
	e.unanswered(u, len(u.pending), "the connection ended before", e.now())
}

func (e *echo) left(c *load.Conn) {
	u := &e.users[c.ID]
	e.flying -= len(u.pending)
	u.pending = u.pending[:0]
}

// unanswered counts the first n pending messages of a connection as errors. They have
// waited until now.
func (e *echo) unanswered(u *user, n int, why string, now int64) {
	if e.closing {
		return
	}
	for _, q := range u.pending[:n] {
		e.recordLost(now-q.at, 1)
	}
	e.fault("unanswered", why, int64(n))
	u.pending = slices.Delete(u.pending, 0, n)
	e.flying -= n
}

func (e *echo) due(now int64) int64 {
	if e.o.rate == 0 {
		return 0
	}
	return e.dueMessages(now, func(at int64) {
		c := e.nextReady(min(e.senders, max(e.open, 1)))
		if c == nil {
			e.fault("not sent", "no connection is there", 1)
		}
		if c == nil || !e.ask(c, at) {
			e.recordLost(0, 1)
		}
	})
}

func (e *echo) check(now int64) {
	if e.flying == 0 {
		return
	}
	present := min(now, e.now())
	for id := range e.users {
		u := &e.users[id]
		n := 0
		for n < len(u.pending) && now-u.pending[n].at > int64(e.o.timeout) {
			n++
		}
		if n == 0 {
			continue
		}
		e.unanswered(u, n, fmt.Sprintf("no answer in %v", e.o.timeout), present)
		if c := &e.conns[id]; c.Stage() == load.Ready {
			e.ready(c) // the next ones
		}
	}
}

func (e *echo) waiting() bool { return e.flying > 0 }

// broadcast has some connections send what the server broadcasts, and all count.
type broadcast struct {
	*measurement
	emitters int
	on       load.EventName
	mark     []byte
	seq      int64
	casts    map[int64]*cast // that have not come to all
	order    []int64         // of casts, those done included
	self     bool            // senders get their own
	departed int             // connections that have gone
	done     load.Histogram  // until the last has it
	complete int64
	own      int64 // deliveries of broadcasts of this run, while measuring
	foreign  int64 // of others
}

// cast is one broadcast.
type cast struct {
	at       int64
	emitter  int
	ready    int // connections when it was sent
	departed int
	got      int
}

// expected is how many are to get it.
func (b *broadcast) expected(k *cast) int {
	if b.o.receivers > 0 {
		return b.o.receivers
	}
	n := k.ready - (b.departed - k.departed)
	if !b.self {
		n--
	}
	return n
}

func (b *broadcast) ready(*load.Conn) {
	if b.traffic && b.o.rate == 0 && b.emitters > 0 {
		b.fillWindow()
	}
}

// fillWindow keeps -window broadcasts under way.
func (b *broadcast) fillWindow() {
	for b.traffic && len(b.casts) < b.o.window {
		if !b.cast(b.now()) {
			return
		}
	}
}

// cast sends one that is due at a time.
func (b *broadcast) cast(at int64) bool {
	c := b.nextReady(b.emitters)
	switch {
	case c == nil:
		if b.o.rate > 0 {
			b.fault("not sent", "no sender is there", 1)
		}
		return false
	case len(b.casts) >= maxBroadcasts:
		b.fault("not sent", fmt.Sprintf("%d broadcasts have not come to all", maxBroadcasts), 1)
		return false
	}
	b.seq++
	var lead [64]byte
	text := append(lead[:0], b.mark...)
	text = append(strconv.AppendInt(text, b.seq, 10), '-')
	text = append(strconv.AppendInt(text, at, 10), '-')
	if !b.send(c, -1, text) {
		return false
	}
	b.casts[b.seq] = &cast{at: at, emitter: c.ID, ready: b.crowd.Ready, departed: b.departed}
	b.order = append(b.order, b.seq)
	return true
}

func (b *broadcast) message(c *load.Conn, p *load.Packet) {
	if !p.IsEvent() || !b.on.Is(p.Data) {
		return
	}
	b.counts.received++
	i := bytes.Index(p.Data, b.mark)
	if i < 0 {
		if b.measuring {
			b.foreign++
		}
		return // the server's own, or another tool's
	}
	seq, rest, ok := load.LeadingNumber(p.Data[i+len(b.mark):])
	at, _, ok2 := load.LeadingNumber(rest)
	if !ok || !ok2 {
		return
	}
	now := b.now()
	if b.measuring {
		b.own++
	}
	b.record(now - at)
	k := b.casts[seq]
	if k == nil {
		return
	}
	k.got++
	if c.ID == k.emitter {
		b.self = true
	}
	if k.got >= b.expected(k) {
		b.complete++
		if b.measuring {
			b.done.Add(now - k.at)
		}
		delete(b.casts, seq)
		if b.o.rate == 0 {
			b.fillWindow()
		}
	}
}

func (b *broadcast) gone(*load.Conn) { b.departed++ }
func (b *broadcast) left(*load.Conn) { b.departed++ }

func (b *broadcast) due(now int64) int64 {
	if b.emitters == 0 {
		return 0
	}
	if b.o.rate == 0 {
		b.fillWindow()
		return 0
	}
	return b.dueMessages(now, func(at int64) {
		if !b.cast(at) {
			b.recordLost(0, int64(max(1, b.expected(&cast{ready: b.crowd.Ready, departed: b.departed}))))
		}
	})
}

func (b *broadcast) check(now int64) {
	present := min(now, b.now())
	for len(b.order) > 0 {
		k := b.casts[b.order[0]]
		if k != nil && now-k.at <= int64(b.o.timeout) && k.got < b.expected(k) {
			return
		}
		if k != nil {
			delete(b.casts, b.order[0])
			switch missing := b.expected(k) - k.got; {
			case missing > 0:
				b.fault("undelivered", fmt.Sprintf("a broadcast had not come to all in %v: deliveries that are missing", b.o.timeout), int64(missing))
				b.recordLost(present-k.at, int64(missing))
			default: // those that it had not come to are gone
				b.complete++
			}
		}
		b.order = b.order[1:]
	}
	b.order = nil
}

func (b *broadcast) waiting() bool { return len(b.casts) > 0 }

// churn has connections leave and come again.
type churn struct {
	*measurement
	coming []retry // connections that are not there, in the order of their time
	late   []int64 // reconnects that were due when no connection was free, by their time
}

// maxLate is how many reconnects may be due.
const maxLate = 10000

// retry is a connection that comes again. The time is when it was due.
type retry struct {
	id     int
	due    int64
	notYet int64 // not before
}

func (*churn) ready(*load.Conn) {}

func (c *churn) message(*load.Conn, *load.Packet) { c.counts.received++ }

func (c *churn) gone(k *load.Conn) {
	if c.traffic && k.ID < c.open {
		at := c.now() + int64(retryAfter)
		c.coming = append(c.coming, retry{k.ID, at, at})
	}
}

func (c *churn) due(now int64) int64 {
	// Those that have left come again.
	later := c.coming[:0]
	soon := int64(0)
	for _, r := range c.coming {
		k := &c.conns[r.id]
		switch {
		case r.id >= c.open:
		case k.Stage() != load.Closed || r.notYet > now || c.crowd.UnderWay >= c.o.connecting:
			later = append(later, r)
			if r.notYet > now {
				soon = r.notYet
			}
		default:
			c.connectOne(r.id, r.due)
		}
	}
	clear(c.coming[len(later):])
	c.coming = later
	if c.o.rate > 0 {
		next := c.dueMessages(now, func(at int64) {
			if len(c.late) == maxLate {
				c.fault("not done", fmt.Sprintf("%d reconnects are due, and no connection is free", maxLate), 1)
				return
			}
			c.late = append(c.late, at)
		})
		for len(c.late) > 0 && c.again(c.late[0]) {
			c.late = c.late[1:]
		}
		if soon > 0 {
			next = min(next, soon)
		}
		return next
	}
	for range maxBurst {
		if c.crowd.UnderWay+len(c.coming) >= min(c.o.connecting, max(1, c.open)) || !c.again(c.now()) {
			break
		}
	}
	if soon == 0 {
		soon = now + int64(10*time.Millisecond)
	}
	return soon
}

// again has one leave, and come again.
func (c *churn) again(at int64) bool {
	k := c.nextReady(max(c.open, 1))
	if k == nil {
		return false
	}
	c.counts.sent++
	c.crowd.Leave(k)
	if k.Stage() == load.Closed && c.crowd.UnderWay < c.o.connecting {
		c.connectOne(k.ID, at)
	} else {
		c.coming = append(c.coming, retry{k.ID, at, 0})
	}
	return true
}

func (*churn) left(*load.Conn) {}

func (c *churn) check(int64) {
	if !c.traffic {
		c.fault("not done", "reconnects that were due at the end: no connection was free", int64(len(c.late)))
		c.late = nil
	}
}

func (c *churn) waiting() bool { return c.crowd.UnderWay > 0 }
