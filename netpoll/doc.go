// Package netpoll is bytes and time: event loops, listeners, connections and
// their phases, timers, and the one path by which bytes reach a socket. Its codecs
// are proto/http1, proto/ws, proto/tls13 and proto/proxyproto. It knows no packet of any protocol above.
//
// Nouns: a Group is a number of Loops that serve the same listeners for the
// same Handler. A Loop is one goroutine over one poller. A Conn is one
// connection: first HTTP, then perhaps WebSocket. A Buffer is a shared,
// reference-counted run of bytes on its way out.
//
//	socket -> Conn.readable -> received, through layers: a PROXY header, TLS -> process
//	                           process -+-> head, body        -> Handler.HandleRequest
//	                                    +-> ws.Reader         -> Handler.HandleMessage
//	                                    +-> unclaimed path    -> lent to net/http -> Loop.Post -> the loop again
//	Conn.Respond, Conn.Send -> outQueue -> Conn.flush, once per batch -> write -> socket
//	other goroutines -> Loop.Post -> the loop's next batch
//
// # Who owns what
//
// A loop is one goroutine; it owns its connections, its timers and everything
// hung on them. Other goroutines own nothing here and may only Post to the
// loop. Loop.Check, the first line of loop-owned methods, panics off the loop
// in race builds. A connection may change its loop (Conn.MoveTo) between two
// requests, and be lent to net/http, where it is no loop's.
//
// # Phases
//
// A connection is in one phase at a time, with one deadline: the table is in
// conn_phase.go. A peer that is slow but moves, at Config.MinRate, is waited for; one
// that does not is cut by a reset, so that no cut looks like a whole answer.
//
// Connections also come from net/http (Group.Place, adopt.go), and from any listener
// (Group.Serve). What no poller can watch is bridged: a net.Conn with a goroutine, under a
// number of its own kind (bridge.go).
//
// # Batches
//
// A loop handles one event of the poller at a time. While it does, what is sent
// gathers in queues; at the end of the batch it runs what was posted meanwhile,
// tells its Flushers, and writes each dirty connection, by one write unless much is
// queued. Bytes that a Handler is given are borrowed: they lie in the loop's read
// buffer and are gone when the method returns. A connection has a share of a batch;
// what it has sent beyond has its turn after the others.
//
// # Bounds
//
// Peers decide nothing about memory. A head, a body, a message, a queue, the
// posted jobs: each has a limit in Config and an answer for when it is
// exceeded. Memory is taken as bytes arrive, never by a number that a peer
// sent. Limits count what is held, capacities included, and Config.MaxMemory bounds
// the sum of it over all peers (memory.go). An idle connection holds no buffer.
//
// # What it tells
//
// Each loop counts bytes and batches, and notes how late it was, in a meter of its own
// (meter.go): Group.Stats and Loop.Stats add up. Group.Stuck finds loops that do not
// turn, and what they are in (health.go). Neither waits for a loop.
//
// # What it does not do
//
// No HTTP/2 and no compression of HTTP. WebSocket messages are compressed with
// Config.Deflate, each by itself.
package netpoll
