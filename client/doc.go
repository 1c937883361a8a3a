// Package client is a Socket.IO client for services, tests and load: protocol 5
// over Engine.IO 4, by WebSocket and by long-polling with upgrade.
//
//	c, err := client.Dial(ctx, "http://localhost:3000/chat", client.Config{Auth: map[string]string{"token": "…"}})
//	c.On("message", func(e *client.Event) { … })
//	err = c.Emit("message", "hello")
//	answer, err := c.Call(ctx, "sum", 1, 2)
//
// Nouns: a Client is one socket, in one namespace; the Clients that Of makes
// share its connection. A connection that breaks is made again, with a growing
// delay, and what was emitted meanwhile is sent then.
//
// Each connection takes three goroutines, each Client one more, which calls its
// handlers: one event at a time, in the order in which the server has sent them.
// A handler that blocks stops the events that follow, and at last the
// connection. All methods may be called from any goroutine.
package client
