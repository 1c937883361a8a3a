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
	switch e.Name {
	case claimEvent:
		ns.heard(e.Args, answer)
	case watchEvent:
		ns.watchedElsewhere(e.Args)
	case presenceEvent:
		ns.toldElsewhere(e.Args)
	case takenEvent:
		if h := ns.shared.Load(); h != nil {
			h.hear(e.Args)
		}
	case linkEvent:
		if p := ns.srv.peers.Load(); p != nil {
			p.hear(e.Args.list)
		}
	}
}

// tellServers sends an event of the servers' own. What is lost is told again.
func (ns *Namespace) tellServers(event string, args ...any) {
	if ns.remote == nil {
		return
	}
	if p, err := ns.srv.payload(event, args); err == nil {
		_ = ns.remote.ServerEvent(p)
	}
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
	ns *Namespace

	// Guarded by mu.
	mu      sync.Mutex
	waits   fifo.Queue[*ServerEvent]
	running bool
}

// maxServerEvents bounds what waits; what is beyond is dropped and reported.
const maxServerEvents = 10_000

func newServerEvents(ns *Namespace) *serverEvents { return &serverEvents{ns: ns} }

// push has an event's handlers called.
func (q *serverEvents) push(p broadcast.Payload, answer func(p broadcast.Payload)) {
	p = p.Clone()
	srv := q.ns.srv
	args, err := srv.argsOf(p)
	if err != nil || args.Len() == 0 {
		return
	}
	name, err := sio.EventName(args.list[0])
	if err != nil {
		return
	}
	args.list = args.list[1:]
	e := &ServerEvent{Args: args, Name: string(name), answer: answer, answered: new(atomic.Bool), srv: srv}
	if strings.HasPrefix(e.Name, internalPrefix) {
		q.ns.internalEvent(e, answer)
		return
	}
	q.mu.Lock()
	full := q.waits.Len() >= maxServerEvents
	if !full {
		q.waits.Push(e)
	}
	run := !full && !q.running
	q.running = q.running || run
	q.mu.Unlock()
	switch {
	case full:
		srv.log.Error("server events", "sockeye: an event of another server is dropped: its handlers are too slow", "event", e.Name, "namespace", q.ns.name, "waiting", maxServerEvents)
	case run:
		go q.run()
	}
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
