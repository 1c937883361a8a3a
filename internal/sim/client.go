package sim

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// client speaks Engine.IO and Socket.IO, as socket.io-client does unless its manner
// is another. It is the world's.
type client struct {
	w      *world
	name   int
	rng    *rand.Rand
	manner manner

	crowd    bool // it only listens
	first    bool // the first transport is a WebSocket
	upgrades bool

	open     bool // a session
	sessions int  // so far
	sid      string
	get      *line // polls; nil while the transport is a WebSocket
	post     *line
	sock     *line // the WebSocket, also one that probes
	ws       bool  // it is the transport
	probed   bool
	queue    []string // packets for a POST
	seats    []*seat
	partial  *partial
	retryAt  time.Duration // when it comes back
	stalled  bool
	strange  bool              // it has done what may cost it its session
	excused  bool              // the application, or the network, has ended it
	gone     bool              // for good
	joins    int               // connects to namespaces so far
	asked    map[uint64]*asked // by ack id, which is never used again
}

type manner int

const (
	proper manner = iota
	loser         // the network cuts it, and it comes back
	vanisher
	staller
	flooder
	forger
	manners
)

func (m manner) String() string {
	return [...]string{"proper", "loser", "vanisher", "staller", "flooder", "forger"}[m]
}

// line is a connection as a client sees it.
type line struct {
	*conn
	in   []byte // not parsed yet
	busy bool   // a request is under way
	ws   bool   // the upgrade has been answered
}

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
	todo      []func() // answers that are given later
	due       bool     // the server has to recover it
	replay    bool     // it has asked to be recovered
	inexact   bool     // it has forged its offset
	dropped   bool     // the application has disconnected it
	unchecked bool     // see recoveryIsTrue
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

// partial is a packet whose attachments are missing.
type partial struct {
	p           sio.Packet
	data        []byte
	attachments [][]byte
}

func (c *client) honest() bool { return c.manner == proper && !c.strange }

func (c *client) fault(kind, format string, args ...any) {
	c.w.fault(kind, fmt.Sprintf("c%d (%s): ", c.name, c.manner)+format, args...)
}

// --- connections ---

func (c *client) dial() *line { return &line{conn: c.w.kernel.dial()} }

// connect opens a session.
func (c *client) connect() {
	c.sessions++
	c.open, c.sid, c.ws, c.probed, c.queue, c.partial, c.stalled = true, "", false, false, nil, nil, false
	if c.first {
		c.sock = c.dial()
		c.w.note("c%d opens a websocket, k%d", c.name, c.sock.name)
		c.sock.write(upgradeRequest(""))
		return
	}
	c.get, c.post = c.dial(), c.dial()
	c.w.note("c%d polls, k%d, posts, k%d", c.name, c.get.name, c.post.name)
	c.request(c.get, "GET", "", "")
}

func upgradeRequest(sid string) []byte {
	if sid != "" {
		sid = "&sid=" + sid
	}
	return []byte("GET /socket.io/?EIO=4&transport=websocket" + sid + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}

func (c *client) request(l *line, method, sid, body string) {
	l.busy = true
	if sid != "" {
		sid = "&sid=" + sid
	}
	head := method + " /socket.io/?EIO=4&transport=polling" + sid + " HTTP/1.1\r\nHost: h\r\n"
	if method == "POST" {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	l.write([]byte(head + "\r\n" + body))
}

// lines are the open connections.
func (c *client) lines() (all []*line) {
	for _, l := range []*line{c.get, c.post, c.sock} {
		if l != nil {
			all = append(all, l)
		}
	}
	return all
}

// drop closes the session's connections.
func (c *client) drop(abort bool) {
	for _, l := range c.lines() {
		if l.left {
			continue
		}
		if abort {
			l.abort()
		} else {
			l.hangUp()
		}
	}
	c.get, c.post, c.sock, c.open = nil, nil, nil, false
	for _, s := range c.seats {
		if s.state != seatOut || c.rng.IntN(2) == 0 { // socket.io-client keeps what it has of a namespace that it has left
			s.state = seatIdle
		}
		s.todo, s.early, s.murky = nil, nil, false
	}
	c.retryAt = c.w.kernel.Now() + time.Duration(c.rng.Int64N(int64(c.w.cfg.retry)))
}

// lost is when the session has ended, and the client has not ended it.
func (c *client) lost(why string) {
	c.w.note("c%d has lost its session: %s", c.name, why)
	if c.honest() && !c.excused && !c.w.closing && c.joined() && !c.w.cfg.tight {
		c.fault("healthy", "its session has ended: %s", why)
	}
	c.excused = false
	c.drop(true)
}

// joined tells whether some namespace has let it in: others are sent away in time.
func (c *client) joined() bool {
	return slices.ContainsFunc(c.seats, func(s *seat) bool { return s.state == seatIn })
}

// readable tells whether there is something to read.
func (c *client) readable() bool {
	return c.open && !c.stalled && slices.ContainsFunc(c.lines(), func(l *line) bool { return len(l.down) > 0 || l.ended() })
}

// read takes what has come.
func (c *client) read() {
	for _, l := range c.lines() {
		if holdsSecret(l.down) {
			c.fault("secret", "it sees %q", l.down)
		}
		l.in = append(l.in, l.down...)
		l.down = nil
		for c.open && !l.left && c.parse(l) {
		}
		if !c.open {
			return
		}
		if !l.left && l.ended() {
			c.endOf(l)
			if !c.open {
				return
			}
		}
	}
}

// endOf is when the server has ended a connection.
func (c *client) endOf(l *line) {
	switch {
	case l == c.sock && !c.ws && c.sid != "": // a probe fails
		c.w.note("c%d: its probe fails", c.name)
		l.hangUp()
		c.sock, c.probed = nil, false
		c.poll()
	case l != c.sock && !l.busy: // kept alive for nothing
		l.hangUp()
		fresh := c.dial()
		if l == c.get {
			c.get = fresh
		} else {
			c.post = fresh
		}
		c.poll()
	default:
		c.lost("connection closed")
	}
}

// parse takes one thing off what has come; false: there is none.
func (c *client) parse(l *line) bool {
	if l.ws {
		return c.parseFrame(l)
	}
	head, rest, ok := bytes.Cut(l.in, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	status := string(head[9:12])
	if status == "101" {
		l.in, l.ws = rest, true
		if c.sid != "" {
			c.frame(l, "2probe")
		} else {
			c.ws = true
		}
		return true
	}
	size := -1
	for _, field := range strings.Split(string(head), "\r\n") {
		if value, is := strings.CutPrefix(field, "Content-Length: "); is {
			size, _ = strconv.Atoi(value)
		}
	}
	if size < 0 || len(rest) < size {
		return false
	}
	body := string(rest[:size])
	l.in, l.busy = rest[size:], false
	if bytes.Contains(head, []byte("\r\nConnection: close")) {
		if l == c.get {
			c.get = c.dial()
		} else if l == c.post {
			c.post = c.dial()
		}
		l.hangUp()
	}
	if status != "200" {
		switch {
		case c.sid == "": // the handshake is refused, for now
			c.w.note("c%d is refused: %s", c.name, status)
			c.excused = true
			c.lost("refused " + status)
		case l == c.sock:
			c.endOf(l)
		default:
			c.lost("status " + status + " " + body)
		}
		return false
	}
	if l == c.get || body != "ok" {
		for _, p := range strings.Split(body, "\x1e") {
			if !c.open {
				return false
			}
			if text, is := strings.CutPrefix(p, "b"); is {
				b, _ := base64.StdEncoding.DecodeString(text)
				c.attachment(b)
			} else {
				c.packet(p)
			}
		}
	}
	c.poll()
	c.flush()
	return c.open
}

// poll polls if it is time to.
func (c *client) poll() {
	if c.open && !c.ws && c.sid != "" && c.get != nil && !c.get.busy {
		if c.probed {
			c.finishUpgrade()
		} else if !c.stalled {
			c.request(c.get, "GET", c.sid, "")
		}
	}
}

// flush POSTs what waits.
func (c *client) flush() {
	if !c.open || c.ws || c.sid == "" || c.post.busy || c.probed {
		c.finishUpgrade()
		return
	}
	if len(c.queue) > 0 {
		n := 1 + c.rng.IntN(len(c.queue))
		c.request(c.post, "POST", c.sid, strings.Join(c.queue[:n], "\x1e"))
		c.queue = c.queue[n:]
	}
}

// finishUpgrade sends the upgrade packet once no request is under way.
func (c *client) finishUpgrade() {
	if !c.open || c.ws || !c.probed || c.get.busy || c.post.busy {
		return
	}
	c.w.note("c%d upgrades", c.name)
	c.frame(c.sock, "5")
	c.ws, c.probed = true, false
	c.get.hangUp()
	c.post.hangUp()
	c.get, c.post = nil, nil
	for _, p := range c.queue {
		c.send(p)
	}
	c.queue = nil
}

// send sends a packet of Engine.IO; binary ones begin with a "b".
func (c *client) send(p string) {
	switch {
	case !c.ws:
		c.queue = append(c.queue, p)
		c.flush()
	case p[0] == 'b':
		b, _ := base64.StdEncoding.DecodeString(p[1:])
		c.sock.write(frame(2, b))
	default:
		c.frame(c.sock, p)
	}
}

func (c *client) frame(l *line, text string) {
	if len(text) > 4 && c.rng.IntN(10) == 0 { // in fragments
		n := 1 + c.rng.IntN(len(text)-1)
		first := frame(1, []byte(text[:n]))
		first[0] &^= 0x80
		l.write(append(first, frame(0, []byte(text[n:]))...))
		return
	}
	l.write(frame(1, []byte(text)))
}

// frame is a WebSocket frame whose mask is zero.
func frame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func (c *client) parseFrame(l *line) bool {
	b := l.in
	if len(b) < 2 {
		return false
	}
	size, head := int(b[1]&0x7f), 2
	switch {
	case size == 126 && len(b) >= 4:
		size, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case size == 127 && len(b) >= 10:
		size, head = int(binary.BigEndian.Uint64(b[2:])), 10
	case size >= 126:
		return false
	}
	if len(b) < head+size {
		return false
	}
	opcode, payload := b[0]&0xf, b[head:head+size]
	l.in = b[head+size:]
	switch opcode {
	case 1:
		if !c.ws {
			if string(payload) == "3probe" {
				c.probed = true
				c.finishUpgrade()
			}
			return true
		}
		c.packet(string(payload))
	case 2:
		c.attachment(bytes.Clone(payload))
	case 8:
		l.write(frame(8, payload))
		c.endOf(l)
	case 9:
		l.write(frame(10, payload))
	}
	return c.open
}

// --- packets ---

func (c *client) packet(p string) {
	if p == "" {
		return
	}
	switch p[0] {
	case '0':
		var h struct {
			SID      string   `json:"sid"`
			Upgrades []string `json:"upgrades"`
		}
		if err := json.Unmarshal([]byte(p[1:]), &h); err != nil {
			c.fault("wire", "handshake %q: %v", p, err)
			return
		}
		c.sid = h.SID
		c.w.note("c%d has a session", c.name)
		for _, s := range c.seats {
			if s.state == seatIdle {
				c.join(s)
			}
		}
	case '1':
		c.lost("close packet")
	case '2':
		c.send("3" + p[1:])
	case '4':
		q, err := sio.Limits{MaxAttachments: 100}.ConsumePacket([]byte(p[1:]))
		if err != nil {
			c.fault("wire", "packet %q: %v", p, err)
			return
		}
		if q.Attachments > 0 {
			if c.partial != nil {
				c.fault("wire", "packet %q between attachments", p)
			}
			c.partial = &partial{p: q, data: q.Data}
			return
		}
		c.event(q, nil)
	}
}

func (c *client) attachment(b []byte) {
	x := c.partial
	if x == nil {
		c.fault("wire", "an attachment that belongs to nothing")
		return
	}
	if x.attachments = append(x.attachments, b); len(x.attachments) == x.p.Attachments {
		c.partial = nil
		c.event(x.p, x.attachments)
	}
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
			if s.due && recoveryIsTrue {
				c.fault("recovery", "it comes back to %s as p%d, and was p%d", s.ns, p.name, s.peer.name)
			}
		}
	}
	s.state, s.sid, s.pid, s.peer = seatIn, a.SID, a.PID, p
	s.unchecked = recovered && !recoveryIsTrue
	early := s.early
	s.early = nil
	for _, id := range early {
		c.check(s, id)
	}
	s.answerLate()
}

// answerLate gives the answers that have waited.
func (s *seat) answerLate() {
	for _, f := range s.todo {
		f()
	}
	s.todo = nil
}

// recoveryIsTrue is to be set when connection state recovery replays to each peer what
// it had a right to, and nothing twice.
const recoveryIsTrue = false

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
		s.offset = last
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

// packetText is a packet's header.
func packetText(p sio.Packet, ns string) string {
	p.Namespace = []byte(ns)
	return string(sio.AppendHeader(nil, p))
}

// join connects to a namespace.
func (c *client) join(s *seat) {
	c.joins++
	s.nonce = fmt.Sprintf("c%d.%d", c.name, c.joins)
	c.w.nonces[s.nonce] = place{c, c.sessions, s}
	s.state, s.sent, s.replay = seatAsking, 0, false
	defer func() { s.dropped = false }()
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
	return l.disconnects == 1 && l.connections == 1 && c.w.kernel.Now()-l.goneAt < c.w.cfg.recovery.MaxDisconnection/2
}

func (c *client) forgeOffset(s *seat, auth map[string]string) {
	s.inexact = true
	b := []byte(s.offset)
	i := len(b) - 1 - c.rng.IntN(min(4, len(b)))
	b[i] = "ABCDEFGH"[c.rng.IntN(8)]
	auth["offset"] = string(b)
}

// --- what it does by itself ---

// events are those that the application handles, and whether they are answered.
var events = []struct {
	name    string
	answers bool
}{
	{"typed", true},
	{"typed", true},
	{"with context", true},
	{"panics", true},
	{"exits", true},
	{"cannot be encoded", true},
	{"raw", true},
	{"later", true},
	{"gate", true},
	{"filtered", true},
	{"nobody handles it", true},
	{"leave", false},
}

// emit sends an event.
func (c *client) emit(s *seat) {
	e := events[c.rng.IntN(len(events))]
	if e.name == "leave" && c.rng.IntN(3) > 0 {
		e = events[0]
	}
	p := sio.Packet{Type: sio.Event}
	if c.rng.IntN(2) == 0 {
		p.HasID, p.ID = true, uint64(len(c.asked))
		c.asked[p.ID] = &asked{event: e.name, nonce: s.nonce, must: e.answers}
	}
	size := c.rng.IntN(20)
	if c.rng.IntN(8) == 0 {
		size = c.rng.IntN(c.w.cfg.large)
	}
	c.w.note("c%d emits %q %d in %s", c.name, e.name, s.sent, s.ns)
	pad := s.nonce + ";" + strings.Repeat("y", size)
	if c.rng.IntN(8) == 0 {
		p.Type, p.Attachments = sio.BinaryEvent, 1
		c.send("4" + packetText(p, s.ns) + fmt.Sprintf(`[%q,%d,%q,{"_placeholder":true,"num":0}]`, e.name, s.sent, pad))
		c.send("b" + base64.StdEncoding.EncodeToString([]byte(pad)))
	} else {
		c.send("4" + packetText(p, s.ns) + fmt.Sprintf("[%q,%d,%q]", e.name, s.sent, pad))
	}
	s.sent++
}

// step does one thing of its own; it is connected or not.
func (c *client) step() {
	if !c.open {
		if c.w.kernel.Now() >= c.retryAt {
			c.connect()
		}
		return
	}
	if c.sid == "" {
		return
	}
	s := c.seats[c.rng.IntN(len(c.seats))]
	switch k := c.rng.IntN(100); {
	case k < 55:
		if s.state == seatIn {
			c.emit(s)
		} else if s.state == seatOut && c.rng.IntN(4) == 0 {
			s.wish = ""
			s.peer, s.pid, s.offset = nil, "", ""
			c.join(s)
		}
	case k < 70:
		if s.state == seatIn {
			s.answerLate()
		}
	case k < 74:
		if s.state == seatIn && len(c.seats) > 1 {
			c.w.note("c%d leaves %s", c.name, s.ns)
			c.send("4" + packetText(sio.Packet{Type: sio.Disconnect}, s.ns))
			s.state, s.dropped, s.murky = seatOut, true, true // what is under way is ignored
		}
	case k < 82:
		if c.upgrades && !c.ws && c.sock == nil {
			c.sock = c.dial()
			c.w.note("c%d probes, k%d", c.name, c.sock.name)
			c.sock.write(upgradeRequest(c.sid))
		}
	default:
		c.misbehave(s)
	}
}

// misbehave does what the manner is known for.
func (c *client) misbehave(s *seat) {
	switch c.manner {
	case loser:
		if lines := c.lines(); c.rng.IntN(4) == 0 {
			silently := c.rng.IntN(3) == 0
			c.w.note("c%d is cut, silently %v", c.name, silently)
			for _, l := range lines {
				l.cut(silently)
			}
			if silently {
				c.drop(true)
			}
		}
	case vanisher:
		switch c.rng.IntN(6) {
		case 0:
			c.w.note("c%d hangs up", c.name)
			c.drop(false)
		case 1:
			c.w.note("c%d aborts", c.name)
			c.drop(true)
		case 2:
			c.w.note("c%d closes", c.name)
			c.send("1")
			c.drop(false)
		}
	case staller:
		c.strange = true
		c.stalled = !c.stalled
		c.w.note("c%d stalls: %v", c.name, c.stalled)
		c.poll()
	case flooder:
		c.strange = true
		for range c.rng.IntN(60) {
			if s.state == seatIn && c.open {
				c.emit(s)
			}
		}
	case forger:
		c.forge(s)
	}
}

// forge sends what no client does.
func (c *client) forge(s *seat) {
	c.strange = true
	text := ""
	switch c.rng.IntN(12) {
	case 0:
		text = fmt.Sprintf("4"+packetText(sio.Packet{Type: sio.Ack, HasID: true, ID: uint64(c.rng.IntN(30))}, s.ns)+"[%d,\"forged\"]", c.rng.IntN(50))
	case 1:
		text = "4" + packetText(sio.Packet{Type: sio.Ack}, s.ns) + `["x"]`
	case 2:
		text = "4" + packetText(sio.Packet{Type: sio.Event}, "/elsewhere") + `["typed",1,2]`
	case 3:
		text = "4" + packetText(sio.Packet{Type: sio.Connect}, "/nowhere") + `{}`
	case 4:
		if s.state == seatIn {
			text = "4" + packetText(sio.Packet{Type: sio.Connect}, s.ns) + `{}`
		}
	case 5:
		text = "4" + packetText(sio.Packet{Type: sio.Event, HasID: true, ID: 1 << 40}, s.ns) + `["typed"]`
	case 6:
		text = "4" + packetText(sio.Packet{Type: sio.BinaryEvent, Attachments: 2}, s.ns) + `["typed",{"_placeholder":true,"num":0}]`
	case 7:
		if s.state == seatIn {
			text = "4" + packetText(sio.Packet{Type: sio.Disconnect}, s.ns)
			s.state, s.dropped, s.murky = seatOut, true, true
		}
	case 8:
		text = "4" + packetText(sio.Packet{Type: sio.Event}, s.ns) + `["disconnect"]`
	case 9:
		text = "3"
	case 10:
		text = string(eio.AppendPacket(nil, eio.Packet{Type: eio.Upgrade}))
	default:
		text = "4" + strings.Repeat("[", c.rng.IntN(40))
	}
	if text == "" {
		return
	}
	c.w.note("c%d forges %.60q", c.name, text)
	c.send(text)
}
