package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// seat is a client in a namespace.
type seat struct {
	ns        string
	state     seatState
	nonce     string
	wish      string
	sid, pid  string
	offset    string
	peer      *peer
	sent      int      // events
	early     []int    // entries that came before the answer to CONNECT
	before    []int    // likewise, to earlier CONNECTs that have not been answered
	todo      []func() // answers that are given later
	due       bool     // the server has to recover it
	replay    bool     // it has asked to be recovered
	inexact   bool     // it has forged its offset
	dropped   bool     // the application has disconnected it
	vague     bool     // its offset is a text of the application's: what was under way to it is lost
	unchecked bool     // it has come back so
	murky     bool     // it has left before: what was under way may still come
}

type seatState int

const (
	seatIdle seatState = iota
	seatAsking
	seatIn
	seatOut
)

// asked is a question to the server.
type asked struct {
	event   string
	nonce   string // of the seat
	must    bool   // it is to be answered
	answers int
}

func (c *client) seat(ns string) *seat {
	ns = cmp.Or(ns, "/")
	for _, s := range c.seats {
		if s.ns == ns {
			return s
		}
	}
	return nil
}

// join connects to a namespace.
func (c *client) join(s *seat) {
	c.joins++
	s.nonce = fmt.Sprintf("c%d.%d", c.name, c.joins)
	c.w.nonces[s.nonce] = place{c, c.sessions, s}
	s.state, s.sent, s.replay = seatAsking, 0, false
	defer func() { s.dropped = false }()
	if s.pid == "" {
		s.before = nil
	} else {
		s.before = append(s.before, s.early...)
		s.unchecked = s.unchecked || s.vague
	}
	s.early, s.todo = nil, nil
	auth := map[string]string{"Nonce": s.nonce, "Wish": s.wish}
	if s.pid != "" {
		auth["pid"] = s.pid
		if s.offset != "" {
			auth["offset"] = s.offset
		}
		s.replay, s.due = true, c.recoverable(s)
		if c.manner == forger && s.offset != "" {
			c.forgeOffset(s, auth)
		}
	} else {
		s.peer = nil
	}
	b, _ := json.Marshal(auth)
	c.w.note("c%d asks to join %s as %s", c.name, s.ns, s.nonce)
	c.send("4" + packetText(sio.Packet{Type: sio.Connect}, s.ns) + string(b))
}

// recoverable tells whether the server has to take it back as who it was: it knows
// that the peer has gone, not on purpose, and not long ago.
func (c *client) recoverable(s *seat) bool {
	if s.peer == nil || s.dropped || s.peer.out || c.strange || c.w.cfg.tight || c.w.closing {
		return false
	}
	l := s.peer.last
	return l.disconnects == 1 && l.connections == 1 && !l.left && c.w.kernel.Now()-l.goneAt < c.w.cfg.recovery.MaxDisconnection/2
}

func (c *client) forgeOffset(s *seat, auth map[string]string) {
	s.inexact = true
	b := []byte(s.offset)
	i := len(b) - 1 - c.rng.IntN(min(4, len(b)))
	b[i] = "ABCDEFGH"[c.rng.IntN(8)]
	auth["offset"] = string(b)
}

// event handles a packet of Socket.IO.
func (c *client) event(p sio.Packet, attachments [][]byte) {
	if c.partial != nil {
		c.fault("wire", "packet %d between attachments", p.Type)
	}
	s := c.seat(string(p.Namespace))
	if s == nil || s.state != seatAsking && s.state != seatIn {
		if c.honest() && !(s != nil && s.dropped) {
			c.fault("wire", "a packet %d for %q, where it is not", p.Type, p.Namespace)
		}
		return
	}
	switch p.Type {
	case sio.Connect:
		c.admitted(s, p.Data)
	case sio.ConnectError:
		c.w.note("c%d is refused by %s: %s", c.name, s.ns, p.Data)
		s.state = seatOut
	case sio.Disconnect:
		if s.murky && s.state == seatAsking {
			return // it is about the time before
		}
		c.w.note("c%d is disconnected from %s", c.name, s.ns)
		if c.honest() && s.peer != nil && !s.peer.out && !s.dropped && !c.w.closing && !c.excused {
			c.fault("healthy", "it is disconnected from %s", s.ns)
		}
		s.state = seatOut
	case sio.Ack, sio.BinaryAck:
		q := c.asked[p.ID]
		if q == nil {
			if p.ID < 1<<40 {
				c.fault("answer", "an answer to %d, which was not asked", p.ID)
			}
			return
		}
		if q.answers++; q.answers > 1 {
			c.fault("answer", "%d answers to %d (%s)", q.answers, p.ID, q.event)
		}
	case sio.Event, sio.BinaryEvent:
		c.received(s, p, attachments)
	}
}

// admitted is when the server has let it into a namespace.
func (c *client) admitted(s *seat, data []byte) {
	var a struct {
		SID string `json:"sid"`
		PID string `json:"pid"`
	}
	if err := json.Unmarshal(data, &a); err != nil || s.state != seatAsking {
		if c.strange {
			return
		}
		c.fault("wire", "CONNECT %q in state %d", data, s.state)
		return
	}
	c.w.ledger.mu.Lock()
	p := c.w.ledger.peers[s.ns+" "+a.SID]
	c.w.ledger.mu.Unlock()
	if p == nil {
		c.fault("wire", "CONNECT with the unknown sid %q", a.SID)
		return
	}
	recovered := p == s.peer
	c.w.note("c%d is p%d in %s, recovered %v", c.name, p.name, s.ns, recovered)
	if s.replay {
		c.w.count("recoveries asked for", 1)
		if recovered {
			c.w.count("recovered", 1)
		} else {
			s.offset = ""
			if s.due {
				c.fault("recovery", "it comes back to %s as p%d, and was p%d", s.ns, p.name, s.peer.name)
			}
		}
	}
	s.state, s.sid, s.pid, s.peer = seatIn, a.SID, a.PID, p
	s.unchecked = recovered && s.unchecked
	early, before := s.early, s.before
	s.early, s.before = nil, nil
	if recovered {
		for _, id := range before {
			if c.w.ledger.isFor(p, id) { // or for another, as which it was coming
				c.check(s, id)
			}
		}
	}
	for _, id := range early {
		c.check(s, id)
	}
	s.answerLate()
}

// check has the ledger look at what has come.
func (c *client) check(s *seat, id int) {
	if !s.unchecked {
		c.w.ledger.received(s.peer, id, c.exact(s))
	}
}

// exact tells whether what the client gets has to be exactly what it was sent.
func (c *client) exact(s *seat) bool { return !c.strange && !s.inexact }

func (c *client) received(s *seat, p sio.Packet, attachments [][]byte) {
	var args []json.RawMessage
	var name string
	id := -1
	err := json.Unmarshal(p.Data, &args)
	if err == nil && len(args) >= 3 {
		err = json.Unmarshal(args[0], &name)
		_ = json.Unmarshal(args[1], &id)
	}
	if err != nil || id < 0 {
		if name != "ask" {
			c.fault("wire", "an event %q", p.Data)
		}
		return
	}
	if len(attachments) > 0 && !bytes.HasPrefix(attachments[0], []byte(strconv.Itoa(id)+" ")) {
		c.fault("content", "e%d with the attachment %.40q", id, attachments[0])
	}
	c.w.note("c%d gets e%d", c.name, id)
	c.w.count("received", 1)
	if s.state == seatAsking {
		if !s.murky {
			s.early = append(s.early, id)
		}
	} else {
		c.check(s, id)
	}
	// As socket.io-client: the last argument, if it is a string.
	var last string
	if s.pid != "" && json.Unmarshal(args[len(args)-1], &last) == nil {
		s.offset, s.vague = last, p.HasID
	}
	if p.HasID {
		c.answer(s, p.ID, id)
	}
}

// answer answers a question: at once, later, or not at all.
func (c *client) answer(s *seat, ackID uint64, id int) {
	nonce := s.nonce
	reply := func() {
		if s.nonce == nonce && s.state == seatIn {
			c.send("4" + packetText(sio.Packet{Type: sio.Ack, ID: ackID, HasID: true}, s.ns) + fmt.Sprintf("[%d,%q]", id, nonce))
		}
	}
	switch k := c.rng.IntN(10); {
	case k < 6 && s.state == seatIn:
		reply()
	case k < 9:
		s.todo = append(s.todo, reply)
	}
}

// answerLate gives the answers that have waited.
func (s *seat) answerLate() {
	for _, f := range s.todo {
		f()
	}
	s.todo = nil
}

// packetText is a packet's header.
func packetText(p sio.Packet, ns string) string {
	p.Namespace = []byte(ns)
	return string(sio.AppendHeader(nil, p))
}
