package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// line is a connection as a client sees it.
type line struct {
	*conn
	in   []byte // not parsed yet
	busy bool   // a request is under way
	ws   bool   // the upgrade has been answered
}

func (c *client) dial() *line { return &line{conn: c.w.kernel.dial()} }

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

// readable tells whether there is something to read.
func (c *client) readable() bool {
	return c.open && !c.stalled && slices.ContainsFunc(c.lines(), func(l *line) bool { return len(l.down) > 0 || l.ended() })
}

// read takes what has come.
func (c *client) read() {
	for _, l := range c.lines() {
		b := l.take()
		if holdsSecret(b) {
			c.fault("secret", "it sees %q", b)
		}
		l.in = append(l.in, b...)
		for c.open && !l.left && c.parse(l) {
		}
		if !c.open {
			return
		}
		if !l.left && l.ended() {
			if err := l.truncated(); err != nil && !c.strange {
				c.fault("wire", "k%d: %v", l.name, err)
			}
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

// partial is a packet whose attachments are missing.
type partial struct {
	p           sio.Packet
	data        []byte
	attachments [][]byte
}

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
