// Package sockeyetest tests applications without a network: a server of theirs
// runs as it does in production, but over connections in memory and with a clock
// that the test moves on.
//
//	srv := sockeyetest.NewServer(t, sockeye.Config{})
//	app.Register(srv.Server)              // On, OnConnect, ...
//	c := srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"token": "secret"}})
//	c.Emit("join", "lobby")
//	answer := c.Call("sum", 1, 2)         // the acknowledgement's arguments
//	for _, e := range c.Received() { ... }
//	srv.Advance(time.Minute)              // heartbeats, timeouts
//
// Each call returns when the server has nothing left to do: what it has sent is
// there then, so that tests need not wait. Handlers that block on something
// outside hold calls up for at most Patience.
//
// A Server and its Clients are for one goroutine.
package sockeyetest
