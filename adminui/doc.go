// Package adminui shows a server to its operators, in two ways: it is the server side of the
// page of @socket.io/admin-ui 0.5.1, and it has a small page of its own that is only read.
//
//	admin, err := adminui.Instrument(srv, adminui.Options{Auth: adminui.Basic("admin", hash)})
//	http.Handle("/status", adminui.Status(srv, adminui.StatusOptions{}))
//
// A server that is not instrumented does nothing for this package. In production mode nothing is
// called for an event either: every two seconds the server's own counters are read. In development
// mode hooks see every event, and return at once while no admin looks.
//
//	hooks (any goroutine) -> queue, bounded -> teller (one goroutine) -> namespace /admin, but for who is behind
//	                                             ^ every 2 s: server_stats
//
// An admin that does not read is left out, told how much it has missed, and shown all sockets anew
// when it reads again. docs/limits.md has the limits, docs/admin.md what differs from Node's
// server.
package adminui
