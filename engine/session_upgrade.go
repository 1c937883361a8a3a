package engine

import (
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// The upgrade from polling to WebSocket (Engine.IO v4, "Upgrade").
//
//	state       event                          action                                  next
//	----------  -----------------------------  --------------------------------------  --------
//	polling     WebSocket request with sid     101                                     probing
//	probing     "2probe"                       "3probe"                                probed
//	probed      "2probe"                       "3probe"                                probed
//	probed      100 ms later                   a waiting poll gets a noop              probed
//	probed      later, a poll arrives          it gets what is queued, or a noop       probed
//	probing, probed
//	            "5", whatever follows it       a waiting poll gets a noop; what is     upgraded
//	                                           queued goes out on the WebSocket
//	            any other message, binary      WebSocket closed; polling goes on       polling
//	            ones and malformed ones too
//	            upgradeTimeout                 WebSocket closed; polling goes on       polling
//	            ... while the session is paused, and is not read
//	                                           another upgradeTimeout                  (same)
//	            WebSocket lost                 polling goes on                         polling
//	            session closed                 WebSocket closed                        -
//	            another WebSocket request      101, and closed                         (same)
//	upgraded    another WebSocket request      101, and closed                         upgraded
//	upgraded    any other request              refused, code 3                         upgraded
//
// No packet is lost or doubled: until "5" every packet goes to a poll, and a
// client sends "5" only after its last poll has been answered.
//
// The reference server (engine.io 6.6.8) takes the same, by the packet's type: BestHTTP for
// Unity sends "52", and a probe is not asked for. It also takes a binary frame of
// version 3 for an upgrade packet, which no client sends.

// upgrade is a WebSocket that probes. There is at most one in a session.
type upgrade struct {
	s      *Session
	conn   *netpoll.Conn
	probed bool
	urgent bool          // polls are sent home
	b64    bool          // becomes legacy.b64 when the upgrade is complete
	timer  netpoll.Timer // the noop's, then UpgradeTimeout
	until  time.Duration // when UpgradeTimeout ends, on the loop's clock
}

// noopDelay is how long a poll may wait on while the peer probes. The peer cannot
// go on until it is answered, but most are, with a message, by then; the
// reference server looks every 100 ms.
const noopDelay = 100 * time.Millisecond

// handleUpgrade answers a WebSocket request that names the session.
func (s *Session) handleUpgrade(c *netpoll.Conn, r *http1.Request, q query) {
	e := s.engine
	if err := c.Upgrade(r, s.appendHeaders(nil, c, r, nil)); err != nil {
		return // Upgrade has answered
	}
	if s.state != sessionOpen || s.transport != transportPolling || s.poll.upgrade != nil {
		c.CloseWebSocket(0, "") // as the reference does; clients expect no HTTP error
		return
	}
	s.poll.upgrade = &upgrade{s: s, conn: c, b64: q.b64, until: s.loop.Now() + e.cfg.UpgradeTimeout}
	c.Context = s
	s.loop.Arm(&s.poll.upgrade.timer, s.poll.upgrade, e.cfg.UpgradeTimeout)
}

// Expire is for the loop's timers only.
func (u *upgrade) Expire(*netpoll.Timer) {
	s := u.s
	switch {
	case u.probed && !u.urgent:
		u.urgent = true
		s.loop.Arm(&u.timer, u, u.until-s.loop.Now())
		s.answerPollWithNoop()
	case s.paused:
		u.anew()
	default:
		s.abandonUpgrade("it was not complete within UpgradeTimeout")
	}
}

// anew gives the peer all of UpgradeTimeout again: what it has sent has not been read.
func (u *upgrade) anew() {
	d := u.s.engine.cfg.UpgradeTimeout
	u.until = u.s.loop.Now() + d
	if !u.probed || u.urgent {
		u.s.loop.Arm(&u.timer, u, d)
	}
}

// handleProbe is given what arrives on the probing WebSocket.
func (s *Session) handleProbe(data []byte, binary bool) {
	u := s.poll.upgrade
	p, err := s.consumeFrame(data, binary)
	switch {
	case err == nil && p.Type == eio.Ping && string(p.Data) == "probe":
		u.conn.Send(probePongPacket.buf, probePongPacket.frame)
		if !u.probed {
			u.probed = true
			s.loop.Arm(&u.timer, u, min(noopDelay, u.until-s.loop.Now()))
		}
	case err == nil && p.Type == eio.Upgrade:
		s.completeUpgrade()
	default:
		s.abandonUpgrade("what came was neither a probe nor the upgrade packet")
	}
}

// completeUpgrade makes the WebSocket the session's transport.
func (s *Session) completeUpgrade() {
	c := s.poll.upgrade.conn
	s.loop.Stop(&s.poll.upgrade.timer)
	s.answerPollWithNoop()
	s.abandonPost() // as the reference does; a client upgrades after its last POST
	if s.poll.legacy != nil {
		s.poll.legacy.b64 = s.poll.upgrade.b64
	}
	s.poll.upgrade = nil
	s.setTransport(transportWebSocket)
	s.conn = c
	s.engine.stats.upgraded.Add(1)
	s.endSlow()
	queue := s.poll.queue
	s.poll.queue = pollQueue{}
	s.loop.Rank(s, 0)
	s.setQueued(0, false) // the WebSocket tells what it has not sent
	s.dropPolling()
	queue.each(func(m *Message) { s.sendFrame(c, m) })
	queue.clear()
	if s.state != sessionOpen {
		return // the WebSocket did not take it
	}
	if s.paused {
		c.Pause()
	}
	if h, ok := s.engine.handler.(UpgradeHandler); ok {
		h.OnUpgrade(s)
	}
}

// probing is the WebSocket that probes, or nil.
func (s *Session) probing() *upgrade {
	if s.poll == nil {
		return nil
	}
	return s.poll.upgrade
}

// abandonUpgrade closes the probing WebSocket, if there is one.
func (s *Session) abandonUpgrade(why string) {
	u := s.probing()
	if u == nil {
		return
	}
	e := s.engine
	e.stats.failedUpgrades.Add(1)
	s.poll.failedProbes = max(s.poll.failedProbes, s.poll.failedProbes+1)
	if e.log.Debugs() {
		e.log.Debug(why, "engine: an upgrade is abandoned", "why", why, "sid", s.ID())
	}
	s.poll.upgrade = nil
	s.loop.Stop(&u.timer)
	if u.conn != nil {
		u.conn.Context = nil
		u.conn.CloseWebSocket(0, "")
	}
}
