package engine

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// Cause is why a session has ended, more closely than its CloseReason. The set is fixed.
type Cause string

// The causes, and who, or what, is behind each: see Cause.By.
const (
	CausePeerClosed   Cause = "peer closed"         // by a close frame, a close packet, or the end of its stream
	CausePeerLeft     Cause = "peer left"           // the namespace alone; for the layer above
	CauseReset        Cause = "connection reset"    // the peer's process or machine is gone, or something between has cut
	CauseFailed       Cause = "connection failed"   // otherwise: the kernel's error is in Closing.Err
	CauseSilent       Cause = "peer silent"         // a ping was not answered
	CauseSlowReader   Cause = "slow reader"         // it did not take what was sent
	CauseTooLarge     Cause = "message too large"   // above MaxPayload
	CauseViolation    Cause = "protocol violation"  // of Engine.IO, WebSocket, or the layer above
	CauseProxyTimeout Cause = "proxy timeout"       // cut at the age at which others were
	CauseServerLate   Cause = "server late"         // a loop was held up, so that pings came late or pongs were read late; or a cluster's bus was slow
	CauseServer       Cause = "closed by server"    // the application
	CauseReplaced     Cause = "replaced"            // by a newer socket; for the layer above
	CauseRefused      Cause = "refused by server"   // the connect; for the layer above
	CauseNotJoined    Cause = "no namespace joined" // in time; for the layer above
	CauseMemory       Cause = "memory spent"        // netpoll.Config.MaxMemory
	CauseShutdown     Cause = "server shutdown"     // Engine.Close
)

// Causes are all of them.
var Causes = []Cause{
	CausePeerClosed, CausePeerLeft, CauseReset, CauseFailed, CauseSilent, CauseSlowReader, CauseTooLarge, CauseViolation,
	CauseProxyTimeout, CauseServerLate, CauseServer, CauseReplaced, CauseRefused, CauseNotJoined, CauseMemory, CauseShutdown,
}

// By is who has ended it: "peer", "server", or "network" for what lies between.
func (c Cause) By() string {
	switch c {
	case CausePeerClosed, CausePeerLeft, CauseSlowReader, CauseTooLarge, CauseViolation, CauseNotJoined:
		return "peer"
	case CauseReset, CauseFailed, CauseSilent, CauseProxyTimeout:
		return "network"
	}
	return "server"
}

// Closing tells how a session, or a part of it, has ended.
type Closing struct {
	Reason CloseReason
	Cause  Cause
	Why    string // in words
	Err    error  // of the connection, if that has ended by itself

	Transport string        // at the end
	Age       time.Duration // of the session

	// LastIn and LastOut are how long ago the last packet, or poll, has come, and the
	// last packet was sent: in whole seconds, up to 18 hours.
	LastIn, LastOut time.Duration

	// AwaitingPong: a ping had not been answered (version 3: it is the peer that pings).
	// Overdue is for how long that, or else this side's next ping, had been due; below 0
	// it was still to come.
	AwaitingPong bool
	Overdue      time.Duration

	Queued  int           // bytes of memory that waited for the peer
	LoopLag time.Duration // the longest that the session's loop has been late in the last 30 to 60 s

	// Signs speak for a proxy that does not pass on what it should; nil for none.
	Signs []string
}

// String tells all of it in a line.
func (c *Closing) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (by the %s; %s, %v old, last in %v ago, last out %v ago, ", c.Cause, c.Why, c.Cause.By(), c.Transport, c.Age.Round(time.Millisecond), c.LastIn, c.LastOut)
	what := "next ping"
	if c.AwaitingPong {
		what = "answer to the ping"
	}
	if over := c.Overdue.Round(time.Millisecond); over < 0 {
		fmt.Fprintf(&b, "%s due in %v", what, -over)
	} else {
		fmt.Fprintf(&b, "%s due %v ago", what, over)
	}
	fmt.Fprintf(&b, ", %d bytes queued, loop late by %v)", c.Queued, c.LoopLag.Round(time.Millisecond))
	for _, s := range c.Signs {
		b.WriteString("; " + s)
	}
	return b.String()
}

// Error is String: a Closing is the cause of what it has cut short.
func (c *Closing) Error() string { return c.String() }

// Unwrap is Err.
func (c *Closing) Unwrap() error { return c.Err }

// CloseHandler may be implemented by a Handler.
type CloseHandler interface {
	// OnClosed is called in place of OnClose, and told more. c may be kept.
	OnClosed(s *Session, c *Closing)
}

// ending is what is known of an end where it comes about.
type ending struct {
	reason CloseReason
	cause  Cause
	why    string
	err    error
}

// endingFor is what is to be said of an end of which only the reason is known: it is the
// layer above that closes.
func endingFor(reason CloseReason) ending {
	switch reason {
	case ServerShuttingDown:
		return ending{reason, CauseShutdown, "the server is shutting down", nil}
	case ForcedClose, ParseError:
		return ending{reason, CauseViolation, "the peer has sent what it must not", nil}
	case PingTimeout:
		return ending{reason, CauseSilent, "a ping was not answered", nil}
	}
	return ending{reason, CauseServer, "the application has closed it", nil}
}

// endingOf is what the end of a session's connection tells.
func endingOf(err error) ending {
	e := ending{reason: reasonFor(err), err: err}
	var closed *netpoll.CloseError
	var request *http1.Error
	switch {
	case errors.As(err, &closed) && closed.Remote:
		e.cause, e.why = CausePeerClosed, fmt.Sprintf("the peer has sent a close frame, code %d", closed.Code)
	case errors.As(err, &closed) && closed.Code == 1009:
		e.cause, e.why = CauseTooLarge, "a message is larger than MaxPayload"
	case errors.As(err, &closed):
		e.cause, e.why = CauseViolation, fmt.Sprintf("WebSocket, code %d: %s", closed.Code, closed.Reason)
	case errors.As(err, &request) && request.Status == http.StatusRequestTimeout:
		e.cause, e.why = CauseSilent, "a request has not come whole in time"
	case errors.As(err, &request):
		e.cause, e.why = CauseViolation, fmt.Sprintf("HTTP, %d: %s", request.Status, request.Reason)
	case errors.Is(err, io.EOF):
		e.cause, e.why = CausePeerClosed, "the peer, or a proxy, has ended the connection"
	case errors.Is(err, netpoll.ErrSlowConsumer), errors.Is(err, netpoll.ErrTimeout):
		e.cause, e.why = CauseSlowReader, "the peer does not read what is sent to it"
	case errors.Is(err, netpoll.ErrMemory):
		e.cause, e.why = CauseMemory, "MaxMemory is spent, and this connection held most"
	case errors.Is(err, netpoll.ErrClosed):
		e.cause, e.why = CauseServer, "this side has closed the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.cause, e.why = CauseReset, "the connection was reset: the peer's process has died, or something between has cut it"
	default:
		e.cause, e.why = CauseFailed, err.Error()
	}
	return e
}

// stamp is the time as it is kept for LastIn and LastOut: two bytes.
func (s *Session) stamp() uint16 { return uint16(s.loop.Now() / time.Second) }

func (s *Session) since(stamp uint16) time.Duration {
	return time.Duration(s.stamp()-stamp) * time.Second
}

// Describe tells how the session, or a part of it, ends now. Loop-owned.
func (s *Session) Describe(reason CloseReason, cause Cause, why string) *Closing {
	s.loop.Check()
	return s.describe(ending{reason, cause, why, nil})
}

// describe adds to what is known of an end how the session is. It comes before anything
// is undone.
func (s *Session) describe(e ending) *Closing {
	c := &Closing{
		Reason: e.reason, Cause: e.cause, Why: e.why, Err: e.err, Transport: s.Transport(),
		Age: time.Since(s.request.Time()), LastIn: s.since(s.lastIn), LastOut: s.since(s.lastOut),
		AwaitingPong: s.awaiting, Queued: s.QueuedBytes(), LoopLag: s.loop.Lag(),
	}
	if at, ok := s.loop.DueAt(&s.timer); ok {
		c.Overdue = s.loop.Now() - at
	} else if e.reason == PingTimeout { // the timer has just run out
		c.Overdue = s.loop.Now() - s.loop.LastDue()
	}
	s.blameServer(c)
	s.addSigns(c)
	return c
}

// blameServer finds that an end, which the peer or the heartbeat has brought about, is
// this side's fault. A peer closes when no ping has come for pingInterval and
// pingTimeout; stamps are a second too coarse.
func (s *Session) blameServer(c *Closing) {
	cfg := &s.engine.cfg
	late := c.LoopLag >= cfg.PingTimeout
	switch c.Cause {
	case CausePeerClosed, CauseReset:
		if silent := c.LastOut-time.Second >= cfg.PingInterval+cfg.PingTimeout; !late && !silent {
			return
		}
		c.Why += "; this side had sent nothing for " + c.LastOut.String()
	case CauseSilent:
		if c.LoopLag < cfg.PingTimeout/2 {
			return
		}
	default:
		return
	}
	c.Cause = CauseServerLate
	c.Why += fmt.Sprintf("; its loop was held up for %v, by a function that blocks or for want of a processor", c.LoopLag.Round(time.Millisecond))
}
