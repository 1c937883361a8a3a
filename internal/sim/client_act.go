package sim

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// step does one thing of its own; it is connected or not.
func (c *client) step() {
	if !c.open {
		if c.w.kernel.Now() >= c.retryAt {
			c.connect()
		}
		return
	}
	if c.sid == "" {
		if Secure && (c.manner == loser || c.manner == vanisher) {
			c.misbehave(c.seats[0]) // in the middle of a handshake, too
		}
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
	if Secure && c.rng.IntN(8) == 0 {
		lines := c.lines()
		l := lines[c.rng.IntN(len(lines))]
		c.w.note("c%d spoils k%d", c.name, l.name)
		l.spoil()
		return
	}
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
