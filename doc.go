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
// on the event loops instead and must not block. Every hook and handler may call
// every method.
//
//	CONNECT -> Use ... -> OnConnect ... -> peer is told -> OnConnection ... -> events -> OnDisconnecting ... -> OnDisconnect ...
//
// A socket's life is one state (socket_life.go). Its parts have owners: the loop of
// its session, the goroutine that runs its mailbox, a mutex that nobody waits under.
//
// # Order
//
// What one goroutine emits reaches each socket in that order, by whatever
// method, across an upgrade from polling to WebSocket too.
//
// # Contracts
//
// Handlers say by their types what the server takes; Emits declares what it sends. Package
// contract makes TypeScript and AsyncAPI of both, and finds changes that break pages.
//
// # Addresses
//
// Who is connected is the peer, until Config.ProxyProtocol or Config.TrustedProxies say
// which proxies may tell of another: then Request.Address and Request.Secure, origins and
// PerAddress follow what they tell. Nobody else is believed.
//
// # Memory
//
// Every queue has a limit. While Config.MaxQueuedBytes wait for a peer, who
// emits to it waits; a peer that does not read for Config.SlowTimeout then is
// disconnected. What peers hold together is bounded by Config.MaxMemory.
package sockeye

// What comes in, and on which goroutine:
//
//	the session's loop            link_recv.go       a message is an event, an answer, a CONNECT
//	   |  link -> socket          socket_mailbox.go  push: the mail waits in the socket's mailbox
//	   v
//	mailbox, queued in lend.Pool  internal/lend      no goroutine while nothing waits
//	   v
//	a lent goroutine              socket_mailbox.go  Run: up to 16 mails, one after the other
//	   |                          event_dispatch.go  handlers and hooks of the user
//	   v
//	handler: Emit, Ack, Join ...  socket_emit.go     encoded here, waits here if the peer is slow
//	   |  Loop.Post
//	   v
//	the session's loop            socket_emit.go     sendOwn: after the broadcasts that came before
//	                              engine             queued, written at the end of the turn
//
// What a mailbox decides about its socket (OnConnect's verdict) goes back to the
// loop the same way: verdictOnLoop. A mailbox that is full stops the loop from
// reading, and paceOnLoop starts it again. With Config.Inline the mailbox runs on
// the loop itself. Functions that are posted to a loop end in OnLoop.
//
// A broadcast goes past the mailboxes: operator.go encodes it on the caller's
// goroutine, broadcast.Rooms gives each loop one job, and each loop sends it to
// its own members.
