package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// Each request that is refused, and each session that is cut, is counted and told: to
// the peer as the protocol says, to OnRefused, and to the log at Debug.

// refuse answers with an error of the protocol.
func (e *Engine) refuse(c *netpoll.Conn, r *http1.Request, err *protocolError) {
	e.refuseText(c, r, err, err.message, "")
}

// refuseHinted is refuse with words that say what to do about it.
func (e *Engine) refuseHinted(c *netpoll.Conn, r *http1.Request, err *protocolError, hint, why string) {
	e.refuseWith(c, r, err, err.message, hint, why)
}

// refuseText is refuse with another message, and a reason for this side alone.
func (e *Engine) refuseText(c *netpoll.Conn, r *http1.Request, err *protocolError, message, why string) {
	e.refuseWith(c, r, err, message, "", why)
}

func (e *Engine) refuseWith(c *netpoll.Conn, r *http1.Request, err *protocolError, message, hint, why string) {
	e.stats.refused.Add(1)
	e.refused[err.check].Add(1)
	if err == errForeign {
		e.stats.foreign.Add(1)
	}
	e.tellRefused(c, r, err, message, why)
	var extra []byte
	if err != errForeign {
		extra = e.appendCORS(nil, r)
	} else if e.allowsOrigins() {
		extra = []byte("Vary: Origin\r\n")
	}
	if r.UpgradeWebSocket {
		// The reference server refuses a WebSocket with 400 and plain text.
		status := http.StatusBadRequest
		if err == errForeign || err == errOwner {
			status = err.status // it has no such refusal
		}
		c.CloseAfterResponse()
		e.respondWith(c, r, status, typeOK, []byte(message), extra)
		return
	}
	e.respondWith(c, r, err.status, typeError, err.body(message, hint), extra)
}

// body is what the protocol has for an error, and, if there is one, a hint for people.
func (e *protocolError) body(message, hint string) []byte {
	b, _ := json.Marshal(struct { // cannot fail
		Code    int    `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{e.code, message, hint})
	return b
}

func (e *Engine) tellRefused(c *netpoll.Conn, r *http1.Request, err *protocolError, message, why string) {
	if e.cfg.OnRefused == nil && !e.log.Debugs() {
		return
	}
	q := parseQuery(r.RawQuery)
	if why == "" {
		why = err.why(r, q)
	}
	if e.log.Debugs() {
		e.log.Debug(err.check, "engine: a request is refused", "check", err.check, "why", why, "transport", string(q.transport), "sid", string(q.sid))
	}
	if e.cfg.OnRefused != nil {
		req := e.newRequest(c, r)
		e.protect("OnRefused", c, func() {
			e.cfg.OnRefused(&req, Refusal{
				Code: err.code, Message: message, Check: err.check, Reason: why, Transport: string(q.transport), SID: string(q.sid),
			})
		})
	}
}

// protect calls a function of the user's; it tells whether that has returned. A panic
// is counted and logged. runtime.Goexit, which t.Fatal is, cannot be stopped: it costs
// the connection c, if there is one, which nobody could answer any more.
func (e *Engine) protect(name string, c *netpoll.Conn, f func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		v := recover()
		e.panicked(name, v)
		if v == nil && c != nil {
			c.Abort(fmt.Errorf("engine: %s has ended its goroutine", name))
		}
	}()
	f()
	return true
}

// panicked counts and logs that a function of the user's has not returned.
func (e *Engine) panicked(name string, v any) {
	e.stats.panics.Add(1)
	if v == nil {
		v = "it has ended its goroutine (runtime.Goexit)"
	}
	e.log.Error("panic in "+name, "engine: panic in Config."+name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// refuseSession answers a handshake for which there is no place.
func (e *Engine) refuseSession(c *netpoll.Conn, r *http1.Request, row *noPlace) {
	e.stats.refusedSessions.Add(1)
	e.refused[row.name].Add(1)
	if e.log.Debugs() {
		e.log.Debug(row.why, "engine: there is no place for a handshake", "status", row.status, "why", row.why)
	}
	if r.UpgradeWebSocket || !row.stays {
		c.CloseAfterResponse()
	}
	e.respond(c, r, row.status, typePlain, []byte(row.why))
}
