package engine

import (
	"errors"
	"net/http"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// serveHandshake opens a session, after AllowRequest if there is one.
//
// Engine.IO v4, "Handshake".
func (e *Engine) serveHandshake(c *netpoll.Conn, r *http1.Request, q query) {
	switch {
	case e.closing.Load():
		e.refuseSession(c, r, noPlaceClosing)
	case !c.TakeHandshake(e.forwarded(c, r).client):
		e.refuseSession(c, r, noPlaceAddress)
	case e.sessions.len() >= e.cfg.MaxSessions:
		e.refuseSession(c, r, noPlaceSessions)
	case c.Loop().Group().Memory().Near():
		e.refuseSession(c, r, noPlaceMemory)
	case e.tooManyPending(c, r):
		e.refuseSession(c, r, noPlacePending)
	case e.cfg.AllowRequest != nil || e.gate != nil:
		e.decide(c, r)
	case string(q.eio) != "4" && !e.cfg.AllowEIO3:
		e.refuse(c, r, errVersion)
	default:
		e.open(c, r, nil, q, nil)
	}
}

// tooManyPending tells whether the connection has opened as many sessions that are
// not established as it may. A WebSocket is one session for good.
func (e *Engine) tooManyPending(c *netpoll.Conn, r *http1.Request) bool {
	h, ok := c.Context.(*httpConn)
	return ok && !r.UpgradeWebSocket && int(h.pending.Load()) >= e.cfg.MaxPendingSessions
}

// errGone ends a connection whose peer has reset it: it has no address any more, for
// limits and logs to go by.
var errGone = errors.New("engine: the peer has reset the connection")

// abandon ends a connection whose peer is gone: nothing is made of its handshake.
func (e *Engine) abandon(c *netpoll.Conn) {
	if e.log.Debugs() {
		e.log.Debug("gone", "engine: a handshake is not answered", "why", errGone)
	}
	c.Abort(errGone)
}

// open makes the session and answers its handshake, with header fields of the
// middleware's. req is what a decision was asked for, or nil.
func (e *Engine) open(c *netpoll.Conn, r *http1.Request, req *Request, q query, extra http.Header) {
	var scratch [idBytes]byte
	id := scratch[:0]
	if e.cfg.GenerateID == nil {
		id = appendID(id, e.cfg.IDPrefix)
	} else {
		if req == nil {
			req = new(Request)
			*req = e.newRequest(c, r)
			req.arrival(c)
			if req.gone() {
				e.abandon(c)
				return
			}
		}
		e.protect("GenerateID", c, func() { id = append(id, e.cfg.GenerateID(req)...) })
	}
	if len(id) == 0 || len(id) > maxIDBytes {
		e.refuseText(c, r, errID, errID.message, "GenerateID has made no ID, or one of more than 1,024 bytes")
		return
	}
	s := newSession(e, c.Loop(), e.newRequestWithin(c, r, id, e.cfg.MaxKeptHeadBytes))
	if s.request.gone() {
		e.abandon(c)
		return
	}
	if req != nil {
		s.request.at, s.request.ctx, s.request.fleeting = req.at, req.ctx, req.fleeting
	} else {
		s.request.arrival(c)
	}
	s.request.settleContext()
	s.setLegacy(q)
	if !r.UpgradeWebSocket && s.poll == nil {
		s.poll = new(polling)
	}
	var headers []byte
	if r.UpgradeWebSocket {
		headers = s.appendHeaders(nil, c, r, extra) // the user's function comes before what has to be undone
		if !c.Open() {
			return
		}
	}
	if !e.sessions.reserve(e.cfg.MaxSessions) { // since it was looked at first
		e.refuseSession(c, r, noPlaceSessions)
		return
	}
	if !e.sessions.add(s) {
		e.sessions.release()
		e.refuseText(c, r, errID, errID.message, "GenerateID has made the ID of a session that there is")
		return
	}
	if e.closing.Load() { // Close may have looked for sessions before this one was there
		s.neverOpened()
		e.refuseSession(c, r, noPlaceClosing)
		return
	}
	var upgrades []string
	if r.UpgradeWebSocket {
		s.setTransport(transportWebSocket)
		if err := c.Upgrade(r, headers); err != nil {
			s.neverOpened() // Upgrade has answered
			return
		}
		s.conn = c
		c.Context = s
	} else {
		s.poll.opener = httpConnOf(c)
		s.poll.opener.pending.Add(1)
	}
	if !r.UpgradeWebSocket && e.ws && !e.cfg.NoUpgrades {
		upgrades = []string{"websocket"}
	}
	e.stats.opened.Add(1)
	s.state = sessionOpen
	s.count(s.transport.column(), 1)
	s.lastIn = s.stamp()
	open := openPacket(e, s.ID(), upgrades)
	s.send(open)
	open.Release()
	s.startHeartbeat()
	e.handler.OnOpen(s)
	if !r.UpgradeWebSocket {
		s.poll.initial = true
		s.poll.headers = extra
		s.handlePoll(c, r, q)
	}
}

// neverOpened forgets a session whose handshake has failed; Close may have found it.
func (s *Session) neverOpened() {
	s.state = sessionClosed
	s.engine.sessions.remove(s)
}

func openPacket(e *Engine, sid string, upgrades []string) *Message {
	m := NewMessage(false)
	m.B = eio.AppendHandshake(m.B[:messageHeadroom-1], eio.Handshake{
		SID: sid, Upgrades: upgrades,
		PingInterval: e.cfg.PingInterval, PingTimeout: e.cfg.PingTimeout, MaxPayload: int64(e.cfg.MaxPayload),
	})
	return m.Seal()
}
