package cluster

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/broadcast"
)

// request is a question to the other servers.
type request struct {
	// Immutable after init.
	answered func(p broadcast.Payload) // nil: payloads are kept
	counts   bool                      // each server tells how many of its sockets are asked
	done     chan struct{}             // closed when nobody has to be waited for any more

	// Guarded by mu.
	mu       sync.Mutex
	want     int             // servers
	waits    map[string]bool // those known by name that have not answered
	heard    map[string]bool // those that have
	unnamed  int             // answers of servers without a name
	asked    int             // sockets
	acks     int             // their answers
	sockets  []broadcast.SocketInfo
	payloads []broadcast.Payload
	over     bool
	why      error
}

// init readies a request to others servers, or, if they are not counted, to those known by
// name.
func (r *request) init(others int, counted bool, names []string) {
	r.done = make(chan struct{})
	r.heard, r.waits = map[string]bool{}, map[string]bool{}
	for _, uid := range names {
		r.waits[uid] = true
	}
	if r.want = others; !counted {
		r.want = len(names)
	}
}

func (r *request) nobody() bool { return r.want <= 0 }

// take takes an answer.
func (r *request) take(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	switch m.Type {
	case BroadcastAck:
		r.acks++
		r.answered(m.Payload)
	default:
		if m.UID != "" {
			if r.heard[m.UID] {
				return // twice
			}
			r.heard[m.UID] = true
			delete(r.waits, m.UID)
		} else {
			r.unnamed++
		}
		r.asked += m.Count
		r.sockets = append(r.sockets, m.Sockets...)
		if m.Type == ServerSideEmitResponse {
			r.payloads = append(r.payloads, m.Payload.Clone())
		}
	}
	r.check()
}

// without no longer waits for a server that has gone.
func (r *request) without(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || !r.waits[uid] {
		return
	}
	if len(r.heard)+r.unnamed+len(r.waits) <= r.want { // or it was gone before they were counted
		r.want--
	}
	delete(r.waits, uid)
	r.check()
}

// check ends the request if all have answered. mu is held.
func (r *request) check() {
	if len(r.heard)+r.unnamed >= r.want && (!r.counts || r.acks >= r.asked) {
		r.finish(nil)
	}
}

func (r *request) finish(why error) {
	r.over, r.why = true, why
	close(r.done)
}

// end ends the request: nothing is taken any more.
func (r *request) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.finish(why)
	}
}

// result is nil if all have answered.
func (r *request) result() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == nil {
		return nil
	}
	e := &broadcast.MissingError{Asked: r.want, Answered: len(r.heard) + r.unnamed, Sockets: max(r.asked-r.acks, 0), Err: r.why}
	if !r.counts {
		e.Sockets = 0
	}
	for uid := range r.waits {
		e.Servers = append(e.Servers, uid)
	}
	slices.Sort(e.Servers)
	return e
}
