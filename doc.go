// Package sockeye is a Socket.IO server for services that hold very many
// connections: events, acknowledgements, rooms, broadcast and namespaces over
// WebSocket and long-polling, on event loops without a goroutine per
// connection.
//
//	srv, err := sockeye.New(sockeye.Config{})
//	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("lobby") })
//	srv.On("chat", func(s *sockeye.Socket, text string) { srv.To("lobby").Emit("chat", text) })
//	srv.On("sum", func(s *sockeye.Socket, a, b int) int { return a + b })
//	log.Fatal(srv.ListenAndServe(":3000"))
//
// Nouns: a Server has Namespaces, "/" at least. A Socket is one peer in one
// namespace. An Operator addresses many sockets: rooms, exceptions, volatile.
//
//	TCP bytes -> netpoll.Conn -> engine transport -> eio.Packet -> Session -> sio.Packet -> Namespace -> your handler
//	your emit -> Namespace -> rooms -> sio.Packet -> eio.Packet -> frame, encoded once -> one job per loop -> Conn -> TCP bytes
//
// # Handlers
//
// Handlers may block. The events of one socket are handled one after the other,
// in the order in which they were sent, on a goroutine that is borrowed while
// there are any; other sockets do not wait for it. A socket whose handlers are
// slow is not read from until they have caught up (Config.MailboxEvents). A
// panic is recovered and costs that event only. With Config.Inline handlers run
// on the event loops instead and must not block.
//
// # Order
//
// What one goroutine emits reaches each socket in that order, by whatever
// method, across an upgrade from polling to WebSocket too.
//
// # Memory
//
// Every queue has a limit. A peer that does not read is disconnected when
// netpoll.Config.MaxQueuedBytes wait for it; a goroutine that emits faster than
// the kernel takes it has to wait in Emit.
package sockeye
