package netpoll

import (
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// Compressed messages that would keep a loop busy are inflated by a few goroutines.
// Their connection waits meanwhile: nothing that follows is handled, and at most
// maxUnread of it read. So each connection has one message there at most.

// inflating is the queue of those messages.
type inflating struct {
	// Guarded by mu.
	mu      sync.Mutex
	waiting []*inflateJob
	workers int
}

// inflateJob is one message on its way.
type inflateJob struct {
	c       *Conn
	payload *bytepool.Buffer // compressed
	held    int              // what it is charged: the memory of payload, then of message
	binary  bool
	message *bytepool.Buffer
	err     *ws.Error
}

// inflate has a message inflated, and handled after that.
func (c *Conn) inflate(ev ws.Event) {
	c.flags |= connInflating
	g := c.loop.group
	j := &inflateJob{c: c, payload: ev.Payload, held: cap(ev.Payload.B), binary: ev.Binary}
	g.memory.Add(j.held)
	q := &g.inflating
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, j)
	if q.workers < runtime.GOMAXPROCS(0) {
		q.workers++
		go g.inflateAll()
	}
}

func (g *Group) inflateAll() {
	q := &g.inflating
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.workers--
			q.waiting = nil
			q.mu.Unlock()
			return
		}
		j := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		j.inflate(g)
		if !j.c.loop.PostNow(inflatedOnLoop, j, nil, 0) { // a WebSocket stays on its loop
			bytepool.Put(j.message)
		}
	}
}

func (j *inflateJob) inflate(g *Group) {
	defer func() {
		if v := recover(); v != nil {
			g.stats.panics.Add(1)
			g.cfg.Logger.Error("netpoll: panic while a message was inflated", "panic", v, "stack", string(debug.Stack()))
			j.err = &ws.Error{Code: 1011, Reason: "the message could not be inflated"}
		}
	}()
	j.message, j.err = ws.Inflate(j.payload, j.binary, g.cfg.MaxMessageBytes) // payload is given back
	held := 0
	if j.message != nil {
		held = cap(j.message.B)
	}
	g.memory.Add(held - j.held)
	j.held = held
}

// inflatedOnLoop goes on with the connection.
func inflatedOnLoop(a, _ any) {
	j := a.(*inflateJob)
	c := j.c
	l := c.loop
	if c.is(connPaused) && c.phase == phaseOpen && j.err == nil {
		if l.inflated == nil {
			l.inflated = map[*Conn]*inflateJob{}
		}
		l.inflated[c] = j
		return
	}
	defer j.release(l.group)
	defer l.recoverPanic(c)
	c.flags &^= connInflating
	switch {
	case c.phase != phaseOpen:
		return
	case j.err != nil:
		c.violated(j.err.Code, j.err.Reason)
		return
	}
	l.current = c
	c.handleMessage(j.message.B, j.binary)
	l.current = nil
	if c.phase == phaseOpen {
		c.readOn()
	}
}

// release gives back what the message has taken.
func (j *inflateJob) release(g *Group) {
	g.memory.Add(-j.held)
	bytepool.Put(j.message)
	j.message = nil
}

// takeInflated takes the message that waits for Resume; nil if there is none.
func (c *Conn) takeInflated() *inflateJob {
	j := c.loop.inflated[c]
	delete(c.loop.inflated, c)
	return j
}
