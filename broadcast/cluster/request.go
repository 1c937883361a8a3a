package cluster

import (
	"errors"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/broadcast"
)

// request is a question to the other servers.
type request struct {
	// Immutable after init.
	answer   Type                      // a server's
	answered func(p broadcast.Payload) // sockets answer, too, and each server tells how many are asked
	named    bool                      // those known by name are asked: they are not counted
	done     chan struct{}             // closed when nobody has to be waited for any more
	max      int                       // of bytes

	// Guarded by mu.
	mu       sync.Mutex
	want     int             // servers
	waits    map[string]bool // those known by name that have not answered
	heard    map[string]bool // those that have
	unnamed  int             // answers of servers without a name
	gone     map[string]bool // those that have gone without; true: they are not wanted any more
	owes     map[string]int  // by server, "" for those without a name: the answers of sockets that have not come; below 0: it has not told how many
	left     int             // of owes, what is above 0
	lost     map[string]int  // the same of servers that have gone
	sockets  []broadcast.SocketInfo
	payloads []broadcast.Payload
	bytes    int // of what has been taken
	over     bool
	why      error
}

// init readies a request to others servers, or, if they are not counted, to those known by
// name.
func (r *request) init(others int, counted bool, names []string) {
	r.done = make(chan struct{})
	r.heard, r.waits, r.gone = map[string]bool{}, map[string]bool{}, map[string]bool{}
	r.owes, r.lost = map[string]int{}, map[string]int{}
	for _, uid := range names {
		r.waits[uid] = true
	}
	if r.want, r.named = others, !counted; r.named {
		r.want = len(names)
	}
}

// nobody tells whether there is nobody to ask, or no longer.
func (r *request) nobody() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want <= 0
}

// take takes an answer.
func (r *request) take(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	switch {
	case m.Type == BroadcastAck && r.answered != nil:
		lost := r.lost[m.UID] > 0
		switch {
		case !lost && r.heard[m.UID] && r.owes[m.UID] <= 0:
			return // more than it has said
		case !r.fits(m):
			return
		case lost: // it has not gone
			r.lost[m.UID]--
		default:
			r.owe(m.UID, -1)
		}
		r.answered(m.Payload)
	case m.Type == r.answer:
		if m.UID != "" && r.heard[m.UID] {
			return // twice
		}
		if !r.fits(m) {
			return
		}
		if r.named && !r.waits[m.UID] && !r.gone[m.UID] {
			r.want++ // it has just joined: those that are waited for are waited for all the same
		}
		if m.UID != "" {
			r.heard[m.UID] = true
			delete(r.waits, m.UID)
			if r.gone[m.UID] { // it has not
				delete(r.gone, m.UID)
				r.want++
			}
		} else {
			r.unnamed++
		}
		if r.answered != nil {
			r.owe(m.UID, m.Count)
		}
		r.sockets = append(r.sockets, m.Sockets...)
		if m.Type == ServerSideEmitResponse {
			r.payloads = append(r.payloads, m.Payload.Clone())
		}
	default:
		return // nobody has asked for it
	}
	r.check()
}

// answerBytes is what an answer takes besides what it says, a socket's description, and a room.
const answerBytes, infoBytes, roomBytes = 256, 128, 16

// errTooMuch ends a question whose answers are too large, or come without end.
var errTooMuch = errors.New("cluster: the answers are more than MaxAnswerBytes")

// fits counts an answer that is about to be taken; if it is too much it ends the request. mu is
// held.
func (r *request) fits(m *Message) bool {
	n := answerBytes + len(m.UID) + m.Payload.Size()
	for i := range m.Sockets {
		s := &m.Sockets[i]
		n += infoBytes + len(s.ID) + len(s.Handshake) + len(s.Data)
		for _, room := range s.Rooms {
			n += roomBytes + len(room)
		}
	}
	if r.bytes += n; r.bytes > r.max {
		r.finish(errTooMuch)
		return false
	}
	return true
}

// owe notes how many answers more a server's sockets owe. mu is held.
func (r *request) owe(uid string, n int) {
	before := r.owes[uid]
	r.owes[uid] = before + n
	r.left += max(before+n, 0) - max(before, 0)
}

// without no longer waits for a server that has gone, nor for its sockets.
func (r *request) without(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := r.owes[uid]; {
	case r.over:
		return
	case r.waits[uid]:
		// Or it was gone before they were counted.
		if counted := len(r.heard)+r.unnamed+len(r.waits) <= r.want; counted {
			r.want--
			r.gone[uid] = true
		}
		delete(r.waits, uid)
	case n > 0:
		r.owe(uid, -n)
		r.lost[uid] += n
	}
	r.check()
}

// errGone is why a server's sockets have not answered.
var errGone = errors.New("a server has gone")

// check ends the request if all have answered. mu is held.
func (r *request) check() {
	if len(r.heard)+r.unnamed >= r.want && r.left == 0 {
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
	e := &broadcast.MissingError{Asked: r.want, Answered: len(r.heard) + r.unnamed, Sockets: r.left, Err: r.why}
	for _, n := range r.lost {
		e.Sockets += n
	}
	switch {
	case r.why != nil:
	case e.Sockets == 0:
		return nil
	default:
		e.Err = errGone
	}
	for uid := range r.waits {
		e.Servers = append(e.Servers, uid)
	}
	slices.Sort(e.Servers)
	return e
}
