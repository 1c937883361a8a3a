package client

// life is where a Client stands. It has no other flags, and changes by this table
// alone, in Client.happen, which also has all that follows from a change.
//
//	           wanted   reached    prepared  accepted   refused  expelled  cut      stopped  closing
//	idle       waiting  -          -         -          -        -         -        -        closed
//	waiting    -        preparing  -         -          -        -         -        idle     closed
//	preparing  -        -          asking    -          idle     -         waiting  idle     closed
//	asking     -        -          -         connected  idle     idle      waiting  idle     closed
//	connected  -        -          -         -          -        idle      waiting  idle     closed
//	closed     -        -          -         -          -        -         -        -        -
//
// "-" is nothing: who comes with the event does nothing, either. So what comes for
// a connection that the Client has left is without effect, as are a second Close, a
// Disconnect of who is not connected, and a Connect of who is.
//
// What is emitted while it is waiting, preparing or asking is kept for the
// connection; while it is idle, or closed, it is refused.
//
// Guarded by manager.mu.
type life uint8

const (
	idle      life = iota // there is no connection, and none is wanted
	waiting               // for the link to be open
	preparing             // Config.Auth is being asked and encoded
	asking                // CONNECT has been sent, and is not answered
	connected
	closed
	lives
)

type lifeEvent uint8

const (
	wanted   lifeEvent = iota // Connect
	reached                   // the link is open, and has space for a CONNECT
	prepared                  // the auth is there
	accepted                  // the server's CONNECT
	refused                   // the server's CONNECT_ERROR, or there is no auth
	expelled                  // the server's DISCONNECT
	cut                       // the link has ended
	stopped                   // Disconnect, or the attempts are used up
	closing                   // Close
	lifeEvents
)

var lifeTable = [lives][lifeEvents]life{
	idle:      {waiting, idle, idle, idle, idle, idle, idle, idle, closed},
	waiting:   {waiting, preparing, waiting, waiting, waiting, waiting, waiting, idle, closed},
	preparing: {preparing, preparing, asking, preparing, idle, preparing, waiting, idle, closed},
	asking:    {asking, asking, asking, connected, idle, idle, waiting, idle, closed},
	connected: {connected, connected, connected, connected, connected, idle, waiting, idle, closed},
	closed:    {closed, closed, closed, closed, closed, closed, closed, closed, closed},
}

// active tells whether the Client has a connection, or is to get one.
func (l life) active() bool { return l != idle && l != closed }

// link is where the connection that Clients share stands. It changes by this table
// alone, in manager.change.
//
//	          needed   opened  failed   due      ended    unneeded  over
//	resting   opening  -       -        -        -        -         -
//	opening   -        open    pausing  -        -        leaving   -
//	open      -        -       -        -        pausing  leaving   -
//	pausing   -        -       -        opening  -        leaving   -
//	leaving   -        -       -        -        -        -         resting
//
// manager.run brings every event but needed and unneeded, and is running unless
// the link is resting. A link is needed while a Client is active.
//
// Guarded by manager.mu.
type link uint8

const (
	resting link = iota // nobody needs it
	opening             // an attempt is under way
	open                // there is a session
	pausing             // until the next attempt
	leaving             // nobody needs it: what was emitted goes out, then it ends
	links
)

type linkEvent uint8

const (
	needed   linkEvent = iota // a Client has become active
	opened                    // the handshake is done
	failed                    // the attempt has
	due                       // the pause is over
	ended                     // the session has
	unneeded                  // no Client is active any more
	over                      // nothing is left
	linkEvents
)

var linkTable = [links][linkEvents]link{
	resting: {opening, resting, resting, resting, resting, resting, resting},
	opening: {opening, open, pausing, opening, opening, leaving, opening},
	open:    {open, open, open, open, pausing, leaving, open},
	pausing: {pausing, pausing, pausing, opening, pausing, leaving, pausing},
	leaving: {leaving, leaving, leaving, leaving, leaving, leaving, resting},
}

// flow is where the sending of a session stands: it goes forward only.
//
// Guarded by manager.mu.
type flow uint8

const (
	flowing  flow = iota
	draining      // what is queued goes out, then the transport is closed
	stopping      // nothing goes out any more
)

// signal wakes all who wait. Guarded by manager.mu.
type signal struct{ ch chan struct{} }

// wait is closed at the next wake.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wake() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
