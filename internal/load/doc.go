// Package load is very many clients of a Socket.IO server (protocol 5 over Engine.IO 4) on
// one thread: the core of cmd/sockeye-load and of bench/load.
//
//	Crowd   epoll, its sockets, and what is counted of all connections
//	Conn    one client: Engine.IO's and Socket.IO's handshake, heartbeats, leaving
//	socket  bytes of one TCP connection, in TLS or not; over long-polling a Conn has two
//
// Nothing but a TLS handshake has a goroutine. All else is called by Run, on its caller's
// goroutine, functions of the user included. Linux only; on other systems there are the
// codecs and the histogram alone.
//
// It trusts no server: what one sends is bounded and checked, and what is wrong with it ends
// that connection with a Fault (docs/decisions/0019-load-tool.md).
package load
