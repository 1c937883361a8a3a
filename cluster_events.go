package sockeye

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/fifo"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// ServerEvent is an event that another server has sent to the servers.
type ServerEvent struct {
	Args // may be kept

	// Name is the event's name.
	Name string

	answer   func(p broadcast.Payload) // nil: nobody waits
	answered *atomic.Bool
	srv      *Server
	bytes    int
}

// HasAck tells whether the other server waits for an answer.
func (e *ServerEvent) HasAck() bool { return e.answer != nil }

// Ack answers, with one value or none; it may be called later, from any goroutine. It does
// nothing if no answer is wanted, or the second time.
func (e *ServerEvent) Ack(value ...any) error {
	if e.answer == nil {
		return nil
	}
	p, err := e.srv.payload("", value)
	if err != nil {
		return err
	}
	if !e.answered.Swap(true) {
		e.answer(p)
	}
	return nil
}

// internalPrefix begins the names of what servers tell each other for themselves.
const internalPrefix = "sockeye:"

// internalEvent acts on what another server says for itself. It must not block.
func (ns *Namespace) internalEvent(e *ServerEvent, answer func(p broadcast.Payload)) {
	var err error
	switch e.Name {
	case claimEvent:
		err = ns.heard(e.Args, answer)
	case watchEvent:
		err = ns.watchedElsewhere(e.Args)
	case presenceEvent:
		err = ns.toldElsewhere(e.Args)
	case takenEvent:
		if h := ns.shared.Load(); h != nil {
			h.hear(e.Args)
		}
	case linkEvent:
		if p := ns.srv.peers.Load(); p != nil {
			p.hear(e.Args.list)
		}
	}
	if err != nil {
		ns.srv.ignoreServerEvent(ns.name, err)
	}
}

// ignoreServerEvent counts what another server has said and is garbage.
func (srv *Server) ignoreServerEvent(namespace string, err error) {
	srv.stats.serverEventsIgnored.Add(1)
	srv.log.Warn("server event", "sockeye: an event of another server cannot be read, and is ignored", "namespace", namespace, "error", err)
}

// tellServers sends an event of the servers' own. What is lost is told again.
func (ns *Namespace) tellServers(event string, args ...any) error {
	if ns.remote == nil {
		return nil
	}
	p, err := ns.srv.payload(event, args)
	if err != nil {
		return err
	}
	return ns.closedErr(ns.remote.ServerEvent(p))
}

// checkServerEvent refuses names that are the servers' own.
func checkServerEvent(event string) error {
	if strings.HasPrefix(event, internalPrefix) {
		return fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	return nil
}

// serverEvents are those that wait for their handlers, which one goroutine calls, in
// order, while there are any.
type serverEvents struct {
	// Immutable after newServerEvents.
	ns       *Namespace
	maxBytes int

	// Guarded by mu.
	mu      sync.Mutex
	waits   fifo.Queue[*ServerEvent]
	bytes   int // of what waits
	running bool
}

// What waits is bounded; what is beyond is dropped, counted and reported.
const (
	maxServerEvents     = 10_000
	maxServerEventBytes = 16 << 20
	serverEventBytes    = 512 // of an event besides what it says
)

func newServerEvents(ns *Namespace) *serverEvents {
	return &serverEvents{ns: ns, maxBytes: maxServerEventBytes}
}

// push has an event's handlers called.
func (q *serverEvents) push(p broadcast.Payload, answer func(p broadcast.Payload)) {
	srv := q.ns.srv
	var scratch [8][]byte
	list, err := sio.SplitArray(p.JSON, scratch[:0], 0)
	var name []byte
	if err == nil && len(list) > 0 {
		name, err = sio.EventName(list[0])
	}
	if err != nil || len(list) == 0 {
		srv.ignoreServerEvent(q.ns.name, err)
		return
	}
	e := &ServerEvent{Name: string(name), answer: answer, answered: new(atomic.Bool), srv: srv, bytes: serverEventBytes + p.Size()}
	internal := strings.HasPrefix(e.Name, internalPrefix)
	if !internal && q.full(e.bytes) {
		srv.stats.serverEventsLost.Add(1)
		srv.log.Error("server events", "sockeye: an event of another server is dropped: the handlers of those before it are too slow", "event", e.Name, "namespace", q.ns.name, "events", maxServerEvents, "or bytes", maxServerEventBytes)
		return
	}
	e.Args, _ = srv.argsOf(p.Clone()) // it has been read
	e.list = e.list[1:]
	if internal {
		q.ns.internalEvent(e, answer)
		return
	}
	q.mu.Lock()
	q.waits.Push(e)
	q.bytes += e.bytes
	run := !q.running
	q.running = true
	q.mu.Unlock()
	if run {
		go q.run()
	}
}

// full tells whether an event of size bytes is too much. What the servers tell each other for
// themselves does not wait.
func (q *serverEvents) full(size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits.Len() >= maxServerEvents || q.waits.Len() > 0 && q.bytes+size > q.maxBytes
}

// run calls handlers until nothing waits.
func (q *serverEvents) run() {
	ended := true // by a handler: runtime.Goexit
	defer func() {
		if ended {
			go q.run()
		}
	}()
	for {
		q.mu.Lock()
		if q.waits.Len() == 0 {
			q.running, ended = false, false
			q.mu.Unlock()
			return
		}
		e := q.waits.Pop()
		q.bytes -= e.bytes
		q.mu.Unlock()
		for _, f := range q.ns.onServerSide.get() {
			q.ns.srv.protect("OnServerSide", func() { (*f)(e) })
		}
	}
}

// OnServerSide adds what is called when another server emits an event to the servers; see
// Namespace.ServerSideEmit. All are called by one goroutine, one after the other, in the
// order in which events have come: a handler that waits for other servers should do so in
// a goroutine of its own. What it returns takes it away.
func (h *handlers) OnServerSide(event string, f func(e *ServerEvent)) (remove func()) {
	if f == nil {
		panic("sockeye: OnServerSide: the function is nil")
	}
	return h.onServerSide.add(&h.mu, "OnServerSide", func(e *ServerEvent) {
		if e.Name == event {
			f(e)
		}
	})
}

// ServerSideEmit sends an event to the other servers themselves, whose OnServerSide
// handlers get it in the namespace of the same name. Its error is ErrUnavailable or the
// Codec's. Without Config.Adapter there are no others.
func (ns *Namespace) ServerSideEmit(event string, args ...any) error {
	if err := checkServerEvent(event); err != nil || ns.remote == nil {
		return err
	}
	p, err := ns.srv.payload(event, args)
	if err != nil {
		return err
	}
	return ns.closedErr(ns.remote.ServerEvent(p))
}

// CallServers is ServerSideEmit with answers, of each other server one. With a
// *MissingError it returns those that have come. Without a deadline of ctx's, they are
// waited for as long as the Adapter says.
func (ns *Namespace) CallServers(ctx context.Context, event string, args ...any) ([]Args, error) {
	if err := checkServerEvent(event); err != nil || ns.remote == nil {
		return nil, err
	}
	p, err := ns.srv.payload(event, args)
	if err != nil {
		return nil, err
	}
	payloads, err := ns.remote.CallServers(ctx, p)
	var list []Args
	for _, p := range payloads {
		if args, err := ns.srv.argsOf(p); err == nil {
			list = append(list, args)
		}
	}
	return list, ns.closedErr(err)
}
