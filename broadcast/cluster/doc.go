// Package cluster is what adapters have in common: the messages that servers send each
// other, who waits for whose answers, which servers there are, and what waits for the bus.
// An adapter brings a Bus, which says how messages travel and in which format.
//
// Nouns: a Message is one thing that a server tells the others about one namespace. A Bus
// carries encoded messages, called frames. A node is one namespace of this server on the
// bus. The outbox holds what waits for the bus. A request is a message whose answers
// somebody waits for.
//
//	Remote's methods -> Encode -> outbox -> one goroutine -> Bus.Send -> the bus
//	the bus -> the adapter's readers -> Adapter.Receive -> Local, or a request
//
// The messages are those of socket.io-adapter's ClusterAdapter, in its numbers. An adapter
// with a format of its own translates.
//
// What fails at which moment: the bus goes while frames are written: those that may have
// been sent are counted as lost and not sent again. The outbox is full: what is new is
// refused, what is older goes out. A server goes while it is asked: who has asked waits
// until its own time is over, and gets what has come. Handlers that block hold up no
// message but those for the same handlers.
package cluster
