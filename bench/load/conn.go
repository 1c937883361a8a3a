//go:build linux

package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

// stage is how far a connection has come.
type stage uint8

const (
	dialing   stage = iota
	upgrading       // WebSocket: the 101 is awaited
	opening         // Engine.IO's open packet is awaited
	joining         // the answer to the namespace's CONNECT is awaited
	ready
	closed
)

// conn is one client: a socket with its protocol. Over long-polling it has a
// second socket, a conn with an owner, for what it posts.
type conn struct {
	l     *load
	id    int
	fd    int
	stage stage
	sid   string
	in    []byte // start of a frame or response whose rest has not come
	out   []byte // what the socket has not taken

	poster  *conn  // polling: sends what waits in pending
	pending []byte // polling: packets to be posted
	owner   *conn  // set in a poster
	posting bool   // poster: a request is under way
}

var errEnd = errors.New("closed by server")

// onWritable finishes a connect, or writes what has waited.
func (c *conn) onWritable() {
	if c.stage == dialing {
		if err := dialError(c.fd); err != nil {
			c.l.drop(c, err)
			return
		}
		c.l.awaitWritable(c, false)
		c.hello()
		return
	}
	n, err := write(c.fd, c.out)
	if err != nil && err != syscall.EAGAIN {
		c.l.drop(c, fmt.Errorf("write: %w", err))
		return
	}
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
		c.l.awaitWritable(c, false)
	}
}

// onReadable reads once: epoll tells again if there is more.
func (c *conn) onReadable(buf []byte) {
	n, err := read(c.fd, buf)
	if err == syscall.EAGAIN {
		return
	}
	if err == nil && n == 0 {
		err = errEnd
	}
	if err != nil {
		c.l.drop(c, fmt.Errorf("read in stage %d: %w", c.stage, err))
		return
	}
	data := buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, err := c.consume(data)
	if err != nil {
		c.l.drop(c, err)
	}
	if c.stage == closed || len(rest) == 0 {
		c.in = nil
	} else if len(rest) < len(data) || len(c.in) == 0 {
		c.in = bytes.Clone(rest)
	}
}

// hello begins the protocol on a socket that has just been connected.
func (c *conn) hello() {
	switch {
	case c.owner != nil:
		c.stage = ready
		c.owner.post()
	case c.l.polling:
		c.stage = opening
		c.get()
	default:
		c.stage = upgrading
		key := sha1.Sum([]byte(strconv.Itoa(c.id)))
		c.writef("GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
			c.l.path, c.l.addr(c.id), base64.StdEncoding.EncodeToString(key[:16]))
	}
}

// consume handles whole frames or responses and returns what follows them.
func (c *conn) consume(d []byte) ([]byte, error) {
	if c.l.polling {
		return c.consumeResponses(d)
	}
	if c.stage == upgrading {
		r, rest, ok, err := nextResponse(d)
		if err != nil || !ok {
			return d, err
		}
		if r.status != 101 {
			return d, fmt.Errorf("upgrade refused: %d %.80s", r.status, r.body)
		}
		c.stage = opening
		d = rest
	}
	for c.stage != closed {
		op, body, rest, ok, err := nextFrame(d)
		if err != nil || !ok {
			return d, err
		}
		switch op {
		case opText:
			err = c.onPacket(body)
		case opPing:
			c.write(appendFrame(c.l.scratch[:0], opPong, body))
		case opClose:
			err = errors.New("close frame from server")
		}
		if err != nil {
			return rest, err
		}
		d = rest
	}
	return nil, nil
}

func (c *conn) consumeResponses(d []byte) ([]byte, error) {
	for c.stage != closed {
		r, rest, ok, err := nextResponse(d)
		if err != nil || !ok {
			return d, err
		}
		if r.status != 200 {
			return d, fmt.Errorf("http status %d: %.80s", r.status, r.body)
		}
		if c.owner != nil {
			c.posting = false
			if r.closes {
				c.l.drop(c, errEnd)
			}
			c.owner.post()
		} else if err := c.onPoll(r); err != nil {
			return d, err
		}
		d = rest
	}
	return nil, nil
}

// onPoll handles the packets of a poll's response and polls again.
func (c *conn) onPoll(r response) error {
	for packet := range bytes.SplitSeq(r.body, []byte{packetSeparator}) {
		if err := c.onPacket(packet); err != nil {
			return err
		}
	}
	if c.stage == closed {
		return nil
	}
	if r.closes {
		return errors.New("server closes the connection after each poll")
	}
	c.get()
	return nil
}

// packetSeparator stands between the packets of one HTTP body.
const packetSeparator = 0x1e

// onPacket handles an Engine.IO packet.
func (c *conn) onPacket(p []byte) error {
	switch {
	case len(p) == 0:
	case p[0] == '4' && c.stage == ready:
		if c.l.onMessage != nil {
			c.l.onMessage(c, p)
		}
	case p[0] == '2':
		c.send(append([]byte("3"), p[1:]...))
	case p[0] == '1':
		return errors.New("close packet from server")
	case p[0] == '0' && c.stage == opening:
		var open struct{ SID string }
		if err := json.Unmarshal(p[1:], &open); err != nil {
			return fmt.Errorf("open packet: %w", err)
		}
		c.sid, c.stage = open.SID, joining
		c.send([]byte("40"))
	case bytes.HasPrefix(p, []byte("40")) && c.stage == joining:
		c.stage = ready
		c.l.joined()
	case bytes.HasPrefix(p, []byte("44")):
		return fmt.Errorf("namespace refused: %.80s", p)
	}
	return nil
}

// send sends an Engine.IO packet.
func (c *conn) send(packet []byte) {
	if !c.l.polling {
		c.l.scratch = appendFrame(c.l.scratch[:0], opText, packet)
		c.write(c.l.scratch)
		return
	}
	if len(c.pending) > 0 {
		c.pending = append(c.pending, packetSeparator)
	}
	c.pending = append(c.pending, packet...)
	c.post()
}

// get polls.
func (c *conn) get() {
	session := ""
	if c.sid != "" {
		session = "&sid=" + c.sid
	}
	c.writef("GET %s?EIO=4&transport=polling%s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", c.l.path, session, c.l.addr(c.id))
}

// post sends what is pending over the second socket, one request at a time, as
// browsers do while a poll is open.
func (c *conn) post() {
	p := c.poster
	switch {
	case len(c.pending) == 0 || c.stage == closed:
	case p == nil:
		p = &conn{l: c.l, owner: c}
		if err := c.l.connect(p, c.id); err != nil {
			c.l.drop(c, err)
			return
		}
		c.poster = p
	case p.stage == ready && !p.posting:
		p.posting = true
		p.writef("POST %s?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\n"+
			"Content-Length: %d\r\n\r\n%s", c.l.path, c.sid, c.l.addr(c.id), len(c.pending), c.pending)
		c.pending = nil
	}
}

func (c *conn) writef(format string, args ...any) {
	c.write(fmt.Appendf(nil, format, args...))
}

// write writes b, or keeps what the socket does not take.
func (c *conn) write(b []byte) {
	if c.stage == closed {
		return
	}
	n := 0
	if len(c.out) == 0 {
		var err error
		n, err = write(c.fd, b)
		if err != nil && err != syscall.EAGAIN {
			c.l.drop(c, fmt.Errorf("write: %w", err))
			return
		}
		if n < len(b) {
			c.l.awaitWritable(c, true)
		}
	}
	c.out = append(c.out, b[n:]...)
}
