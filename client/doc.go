// Package client is a Socket.IO client for services, tests and load: protocol 5
// over Engine.IO 4, by WebSocket and by long-polling with upgrade.
//
//	c, err := client.Dial(ctx, "http://localhost:3000/chat", client.Config{Auth: map[string]string{"token": "…"}})
//	c.On("message", func(e *client.Event) { … })
//	err = c.Emit("message", "hello")
//	answer, err := c.Call(ctx, "sum", 1, 2)
//
// New makes a Client that is not connected yet, so that its handlers are there
// before the first event; Connect connects it.
//
// Nouns: a Client is one socket, in one namespace; the Clients that Of and Share
// make use its connection. A connection that breaks is made again, with a growing
// delay, as long as a Client is active; what was emitted meanwhile is sent then.
// A Client stops being active when the server refuses or disconnects it, after
// Disconnect, and when the attempts are used up; Connect makes it active again.
// state.go has the tables.
//
//	       reader ──> events ──> one queue a Client ──> handlers and hooks, one at a time
//	server ──┤└─────> answers, refusals, the end: at once
//	       writer <── one queue a connection <── Emit, Ack, Call; pongs
//
// Each connection takes two goroutines, and two more while it is opened and
// upgraded; a Client has one while its handlers run. None is left after Close.
//
// A handler that blocks stops the handlers that follow, and, when
// Config.MaxQueued events wait, the reading of further ones, so that the server
// is slowed down. Answers, pongs and the connection's end are not held back by
// that: pongs are sent unasked, and the connection is read on, up to
// Config.MaxQueuedBytes, while anything but events is waited for, and when no
// handler has returned for a while.
//
// All methods may be called from any goroutine, handlers and hooks included.
package client
