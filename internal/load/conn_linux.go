package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Stage is how far a connection has come.
type Stage uint8

// The stages.
const (
	Closed     Stage = iota // or never opened
	connecting              // TCP, and TLS
	upgrading               // WebSocket: the 101 is awaited
	opening                 // Engine.IO's open packet is awaited
	joining                 // the answer to the namespace's CONNECT is awaited
	Ready
	leaving // long-polling: the last POST is under way
)

// Conn is one client.
type Conn struct {
	ID int

	crowd     *Crowd
	stage     Stage
	fragments byte // opcode of a message whose end has not come; 0: none
	since     time.Time
	seen      time.Time     // when something came last
	heartbeat time.Duration // after which silence is a fault; 0: never
	sid       string        // escaped
	maxBody   int           // polling: what the server takes in one POST
	main      socket
	message   []byte // fragments
	charged   int

	poster  *socket // polling: sends what waits in pending
	pending []byte  // polling: packets to be posted
	posting bool    // a POST is under way
	posted  time.Time
}

// Stage is how far it has come.
func (c *Conn) Stage() Stage { return c.stage }

// Since is when it was opened.
func (c *Conn) Since() time.Time { return c.since }

// Waiting is how many bytes of it the server has not taken.
func (c *Conn) Waiting() int { return len(c.main.out) + len(c.pending) }

func (c *Conn) stageName() string {
	switch c.stage {
	case connecting:
		if c.main.securing {
			return "in the TLS handshake"
		}
		return "connecting"
	case upgrading:
		return "waiting for the upgrade to WebSocket"
	case opening:
		return "waiting for the open packet of Engine.IO"
	case joining:
		return "waiting for the answer of the namespace"
	case Ready:
		return "connected"
	case leaving:
		return "leaving"
	}
	return "closed"
}

// dial opens a socket of the connection's.
func (c *Conn) dial(s *socket) {
	if c.stage == Closed {
		c.stage = connecting
	}
	s.c = c
	if f := c.crowd.connect(s, c.ID); f != nil {
		s.fd = -1
		c.crowd.drop(c, f)
	}
}

// connected begins the protocol on a socket that has just been connected.
func (c *Conn) connected(s *socket) {
	l := c.crowd
	switch {
	case s == c.poster:
		c.post()
	case l.cfg.Polling:
		if c.stage == connecting {
			c.stage = opening
		}
		c.get()
	default:
		c.stage = upgrading
		l.scratch = fmt.Appendf(l.scratch[:0], "GET %s?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
			l.cfg.Path, l.query(), l.host(c.ID), key(c.ID), l.cfg.Header)
		s.write(l.scratch)
	}
}

func (l *Crowd) query() string {
	if l.cfg.Query == "" {
		return ""
	}
	return "&" + l.cfg.Query
}

func (l *Crowd) host(id int) string {
	if l.cfg.Host != "" {
		return l.cfg.Host
	}
	return l.cfg.Servers[id%len(l.cfg.Servers)].String()
}

func key(id int) string {
	sum := sha1.Sum([]byte(strconv.Itoa(id)))
	return base64.StdEncoding.EncodeToString(sum[:16])
}

// accept is the Sec-WebSocket-Accept of a key (RFC 6455 section 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// lost is called when a socket has ended by itself. One that has nothing to post is opened
// again when it has.
func (c *Conn) lost(s *socket, f *Fault) {
	if s == c.poster && !c.posting && !s.dialing && !s.securing {
		c.crowd.closeSocket(s)
		c.poster = nil
		return
	}
	if c.stage == leaving && s == &c.main {
		c.crowd.closeSocket(s)
		return
	}
	c.crowd.drop(c, f)
}

// consume handles whole frames or responses and returns what follows them.
func (c *Conn) consume(s *socket, d []byte, ended bool) ([]byte, *Fault) {
	l := c.crowd
	c.seen = l.now
	if l.cfg.Polling {
		return c.consumeResponses(s, d, ended)
	}
	if c.stage == upgrading {
		r, rest, ok, f := nextResponse(d, l.cfg.MaxMessage, ended)
		if f != nil || !ok {
			return d, f
		}
		if r.status != 101 {
			return d, faultf(KindRefused, "%s", answer(r))
		}
		if string(r.accept) != accept(key(c.ID)) {
			return d, faultf(KindProtocol, "wrong Sec-WebSocket-Accept in the answer to the upgrade")
		}
		c.stage = opening
		d = rest
	}
	for generation := s.generation; s.fd >= 0 && s.generation == generation; {
		fr, rest, ok, f := nextFrame(d, l.cfg.MaxMessage)
		if f != nil || !ok {
			return d, f
		}
		if f := c.onFrame(s, fr); f != nil {
			return rest, f
		}
		d = rest
	}
	return nil, nil
}

// answer is what a server has answered to a request.
func answer(r response) string {
	text := fmt.Sprintf("HTTP %d", r.status)
	if name := http.StatusText(r.status); name != "" {
		text += " " + name
	}
	if len(r.body) > 0 {
		text += ": " + said(r.body)
	}
	return text
}

func (c *Conn) onFrame(s *socket, fr frame) *Fault {
	l := c.crowd
	switch fr.op {
	case opPing:
		l.scratch = appendFrame(l.scratch[:0], opPong, fr.body)
		s.write(l.scratch)
		return nil
	case opPong:
		return nil
	case opClose:
		if len(fr.body) >= 2 {
			return faultf(KindClosed, "close frame %d %s, while %s", int(fr.body[0])<<8|int(fr.body[1]), said(fr.body[2:]), c.stageName())
		}
		return faultf(KindClosed, "close frame, while %s", c.stageName())
	}
	if (fr.op == opMore) != (c.fragments != 0) {
		return faultf(KindProtocol, "fragment out of order")
	}
	op, body := fr.op, fr.body
	if !fr.last || op == opMore {
		if len(c.message)+len(body) > l.cfg.MaxMessage {
			return faultf(KindTooLarge, "message above %d bytes, in fragments", l.cfg.MaxMessage)
		}
		if op != opMore {
			c.fragments = op
		}
		c.message = append(c.message, body...)
		if !l.charge(&c.charged, cap(c.message)) {
			return faultf(KindMemory, "more than %d MiB wait in all connections together", l.cfg.MaxHeld>>20)
		}
		if !fr.last {
			return nil
		}
		op, body = c.fragments, c.message
		c.fragments, c.message = 0, nil
		l.charge(&c.charged, 0)
	}
	if op == opBinary {
		return nil // an attachment
	}
	if len(body) == 0 {
		return faultf(KindProtocol, "empty message")
	}
	return c.onPacket(body)
}

func (c *Conn) consumeResponses(s *socket, d []byte, ended bool) ([]byte, *Fault) {
	l := c.crowd
	for generation := s.generation; s.fd >= 0 && s.generation == generation && len(d) > 0; {
		r, rest, ok, f := nextResponse(d, l.cfg.MaxMessage, ended)
		if f != nil || !ok {
			return d, f
		}
		if r.status != 200 {
			kind := KindRefused
			if c.stage >= Ready {
				kind = KindStatus
			}
			return d, faultf(kind, "%s", answer(r))
		}
		if s == c.poster {
			c.onPosted(r)
		} else if f := c.onPoll(r); f != nil {
			return d, f
		}
		d = rest
	}
	return nil, nil
}

// onPosted goes on with what has waited for the answer to a POST.
func (c *Conn) onPosted(r response) {
	c.posting = false
	if c.stage == leaving && len(c.pending) == 0 {
		c.crowd.shut(c)
		return
	}
	if r.closes {
		c.crowd.closeSocket(c.poster)
		c.poster = nil
	}
	c.post()
}

// onPoll handles the packets of a poll's response and polls again.
func (c *Conn) onPoll(r response) *Fault {
	generation := c.main.generation
	for packet := range bytes.SplitSeq(r.body, []byte{packetSeparator}) {
		if c.stage == leaving || len(packet) == 0 {
			continue
		}
		if f := c.onPacket(packet); f != nil {
			return f
		}
		if c.main.fd < 0 || c.main.generation != generation {
			return nil
		}
	}
	switch {
	case c.stage == leaving:
	case r.closes:
		c.crowd.closeSocket(&c.main)
		c.dial(&c.main)
	default:
		c.get()
	}
	return nil
}

// packetSeparator stands between the packets of one HTTP body.
const packetSeparator = 0x1e

// onPacket handles an Engine.IO packet.
func (c *Conn) onPacket(p []byte) *Fault {
	switch p[0] {
	case '4':
		return c.onMessage(p)
	case '2':
		c.Send(append([]byte("3"), p[1:]...))
	case '1':
		return faultf(KindClosed, "close packet of Engine.IO, while %s", c.stageName())
	case '0':
		if c.stage == opening {
			return c.onOpen(p[1:])
		}
	case '3', '5', '6':
	case 'b':
		if !c.crowd.cfg.Polling {
			return faultf(KindProtocol, "not Engine.IO: %s", said(p))
		}
	default:
		return faultf(KindProtocol, "not Engine.IO: %s", said(p))
	}
	return nil
}

// onOpen handles the open packet, and joins the namespace.
func (c *Conn) onOpen(b []byte) *Fault {
	var open struct {
		SID                                   string
		PingInterval, PingTimeout, MaxPayload float64
	}
	if err := json.Unmarshal(b, &open); err != nil || open.SID == "" || len(open.SID) > 256 {
		return faultf(KindProtocol, "open packet: %s", said(b))
	}
	const day = 24 * 3600 * 1000
	if ms := open.PingInterval + open.PingTimeout; open.PingInterval > 0 && ms > 0 && ms < day {
		c.heartbeat = time.Duration(ms * 1e6)
	}
	if open.MaxPayload > 0 && open.MaxPayload < 1<<30 {
		c.maxBody = int(open.MaxPayload)
	}
	c.sid, c.stage = url.QueryEscape(open.SID), joining
	join := []byte("40" + c.crowd.prefix)
	if c.crowd.cfg.Auth != nil {
		join = append(join, c.crowd.cfg.Auth(c.ID)...)
	}
	c.Send(join)
	return nil
}

// onMessage handles a message of Engine.IO's.
func (c *Conn) onMessage(p []byte) *Fault {
	l := c.crowd
	if len(p) < 2 {
		return faultf(KindProtocol, "not Socket.IO: %s", said(p))
	}
	switch p[1] {
	case typeConnect, typeDisconnect, typeConnectError:
		packet, ok := Parse(p[1:])
		if !ok {
			return faultf(KindProtocol, "not Socket.IO: %s", said(p))
		}
		if !bytes.Equal(packet.Namespace, l.namespace) {
			return nil
		}
		switch {
		case packet.Type == typeConnectError:
			return faultf(KindNamespace, "%s", said(packet.Data))
		case packet.Type == typeDisconnect:
			return faultf(KindClosed, "disconnect packet of the namespace, while %s", c.stageName())
		case c.stage == joining:
			l.ready(c)
		}
	case typeEvent, typeAck, typeBinaryEvent, typeBinaryAck:
		if c.stage == Ready && l.OnMessage != nil {
			l.OnMessage(c, p)
		}
	default:
		return faultf(KindProtocol, "not Socket.IO: %s", said(p))
	}
	return nil
}

// Send sends an Engine.IO packet.
func (c *Conn) Send(packet []byte) {
	l := c.crowd
	if c.stage == Closed {
		return
	}
	if !l.cfg.Polling {
		l.scratch = appendFrame(l.scratch[:0], opText, packet)
		c.main.write(l.scratch)
		return
	}
	if len(c.pending) > 0 {
		c.pending = append(c.pending, packetSeparator)
	}
	c.pending = append(c.pending, packet...)
	c.post()
}

// get polls.
func (c *Conn) get() {
	l := c.crowd
	session := ""
	if c.sid != "" {
		session = "&sid=" + c.sid
	}
	l.scratch = fmt.Appendf(l.scratch[:0], "GET %s?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s\r\n",
		l.cfg.Path, session, l.query(), l.host(c.ID), l.cfg.Header)
	c.main.write(l.scratch)
}

// post sends what is pending over the second socket, one request at a time, as
// browsers do while a poll is open.
func (c *Conn) post() {
	l := c.crowd
	switch {
	case len(c.pending) == 0 || c.stage == Closed:
	case c.poster == nil:
		c.poster = &socket{c: c, fd: -1}
		c.dial(c.poster)
	case c.poster.fd >= 0 && !c.poster.dialing && !c.poster.securing && !c.posting:
		body, rest := c.pending, []byte(nil)
		if c.maxBody > 0 && len(body) > c.maxBody {
			i := bytes.LastIndexByte(body[:c.maxBody+1], packetSeparator)
			if i < 0 {
				i = bytes.IndexByte(body, packetSeparator)
			}
			if i > 0 {
				body, rest = body[:i], bytes.Clone(body[i+1:])
			}
		}
		c.posting, c.posted = true, l.now
		l.scratch = fmt.Appendf(l.scratch[:0], "POST %s?EIO=4&transport=polling&sid=%s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\n"+
			"Content-Length: %d\r\n%s\r\n", l.cfg.Path, c.sid, l.query(), l.host(c.ID), len(body), l.cfg.Header)
		l.scratch = append(l.scratch, body...)
		c.pending = rest
		c.poster.write(l.scratch)
	}
	if c.stage != Closed {
		l.charge(&c.charged, cap(c.pending)+cap(c.message))
	}
}

// Leave says goodbye and closes: at once, or over long-polling when the server has answered.
func (l *Crowd) Leave(c *Conn) {
	if c.stage != Ready {
		l.shut(c)
		return
	}
	goodbye := []byte("41" + l.prefix)
	if !l.cfg.Polling {
		c.Send(goodbye)
		l.scratch = appendFrame(l.scratch[:0], opClose, []byte{3, 232}) // 1000
		c.main.write(l.scratch)
		if c.main.tls != nil {
			_ = c.main.tls.Close()
		}
		l.shut(c)
		return
	}
	l.Ready--
	l.Leaving++
	c.stage, c.since = leaving, l.now
	l.waiting.push(c)
	c.Send(append(goodbye, packetSeparator, '1'))
}

// Cut closes a connection without a word.
func (l *Crowd) Cut(c *Conn) { l.shut(c) }
