// Package engine is Engine.IO, protocol version 4, and 3 for old clients
// (version3.go): handshake, sessions, the polling and websocket transports, probe and
// upgrade, heartbeat, close reasons. It never learns of namespaces or events.
//
// Nouns: an Engine serves one path. A Session is what a peer and this server
// share, known by its sid, over one or several connections. A Message is
// encoded once for every session and transport that it goes to. A Handler is
// the layer above.
//
//	netpoll.Conn -> Mux -> Engine.serve -+-> handshake        -> Handler.OnOpen
//	                                     +-> poll, POST, ws   -> eio.Packet -> Session.handlePacket -> Handler.OnMessage
//	Message -> Session.Send -+-> websocket: a view into the message, queued on the connection
//	                         +-> polling:   queued for the poll (pollQueue), answered once per batch
//
// Before anything else is looked at, a request of a page of another origin is refused
// (origin.go). Each refusal, and each session that is cut, is counted and told
// (refuse.go); what the peer is told is in one table (errors.go).
//
// # Who owns a session
//
// The GET, the POST and the WebSocket of a session arrive on different TCP
// connections, which may sit on different loops. A session lives on the loop
// of the connection that opened it, for good; a connection whose request names
// a session of another loop is moved there first (netpoll.Conn.MoveTo). So
// everything about a session, its upgrade included, happens on one goroutine,
// and nothing of it needs a lock. From elsewhere, Post to Session.Loop.
//
// # What it does not do
//
// WebTransport. TLS, which ends in front of it: what a proxy says of it is not believed.
package engine
