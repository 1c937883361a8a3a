package sockeye

import "sync/atomic"

// life is where a socket stands, for everybody who asks: it has no other flags.
// It changes by this table alone.
//
//	            admitted    accepted   refused  dismissal   left       ended
//	            (mailbox)   (loop)     (loop)   (anybody)   (loop)     (loop)
//	asking      connecting  -          gone     -           -          gone
//	connecting  -           connected  gone     dismissing  -          gone
//	connected   -           -          -        leaving     -          gone
//	dismissing  -           -          -        -           dismissed  dismissed
//	leaving     -           -          -        -           dismissed  dismissed
//	dismissed   -           -          -        -           -          -
//	gone        -           -          -        -           -          -
//
// "-" is nothing: whoever comes with the event does nothing either. So a verdict
// that comes after Disconnect, a Disconnect that comes after the end, and the
// second of two of them are all without effect.
//
// What is sent to the socket while it is asking, by a middleware, goes out; it waits
// while it is connecting or dismissing, goes out while it is connected or leaving,
// and is dropped from then on. Events of the peer are handled while it is
// connected; those that wait are dropped once it has been dismissed, and still
// handled once it is gone otherwise.
//
// Any goroutine (atomic).
type life struct{ v atomic.Uint32 }

type lifeState uint32

const (
	asking     lifeState = iota // middlewares are being asked
	connecting                  // it is in its namespace, and OnConnect decides; the peer waits
	connected                   // the peer has been told, or is about to be
	dismissing                  // Disconnect was called while it was connecting
	leaving                     // Disconnect was called
	dismissed                   // it has gone, after Disconnect
	gone                        // it has gone
	lifeStates
)

type lifeEvent uint32

const (
	admitted  lifeEvent = iota // by the middlewares
	accepted                   // by OnConnect
	refused                    // by one of them
	dismissal                  // Disconnect, by anybody
	left                       // Disconnect's job has come to the loop
	ended                      // the peer has left, or its session has ended
	lifeEvents
)

// lifeTable has the next state, or the same for "-".
var lifeTable = [lifeStates][lifeEvents]lifeState{
	asking:     {connecting, asking, gone, asking, asking, gone},
	connecting: {connecting, connected, gone, dismissing, connecting, gone},
	connected:  {connected, connected, connected, leaving, connected, gone},
	dismissing: {dismissing, dismissing, dismissing, dismissing, dismissed, dismissed},
	leaving:    {leaving, leaving, leaving, leaving, dismissed, dismissed},
	dismissed:  {dismissed, dismissed, dismissed, dismissed, dismissed, dismissed},
	gone:       {gone, gone, gone, gone, gone, gone},
}

func (l *life) state() lifeState { return lifeState(l.v.Load()) }

// change makes e happen; without effect ok is false.
func (l *life) change(e lifeEvent) (from lifeState, ok bool) {
	for {
		from = l.state()
		to := lifeTable[from][e]
		if to == from {
			return from, false
		}
		if l.v.CompareAndSwap(uint32(from), uint32(to)) {
			return from, true
		}
	}
}

// over tells whether the socket has left its namespace.
func (s lifeState) over() bool { return s >= dismissed }

// sends tells whether the application may still send to the socket.
func (s lifeState) sends() bool { return s <= connected }

// answered tells whether the peer knows that it is in.
func (s lifeState) answered() bool { return s == connected || s == leaving }

// hears tells whether packets of the peer are for the socket.
func (s lifeState) hears() bool { return s == connected || s == leaving }

// entered tells whether the socket is in its namespace for the application.
func (s lifeState) entered() bool { return s == connecting || s == connected }

// byServer tells whether Disconnect has been called.
func (s lifeState) byServer() bool { return s == dismissing || s == leaving || s == dismissed }
