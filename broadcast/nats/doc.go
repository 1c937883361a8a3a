// Package nats joins servers by NATS.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
//	adapter, err := sockeyenats.New(nc, sockeyenats.Options{})
//	srv, err := sockeye.New(sockeye.Config{Adapter: adapter})
//
// No other Socket.IO server has a format for NATS; this one is socket.io-adapter's
// ClusterAdapter message, in JSON, or, when there is binary in it, in MessagePack. Subjects
// have namespaces, rooms and IDs in unpadded URL-safe base64; a name of more than 300 bytes
// is ~ and its SHA-256.
//
//	sio.<namespace>.all                what all servers get
//	sio.<namespace>.room.<room>        an event for one room: servers with somebody in it
//	sio.<namespace>.sock.<6>.<14>      an event for one socket: 6 characters of its ID name its server
//	sio.<namespace>.beat               which servers are there
//	sio.<namespace>.node.<server>      answers
//
// A server has one subscription for each room that somebody here is in, and gets nothing of
// the others. The connection is the user's: it should reconnect without end
// (MaxReconnects(-1)), and handlers that it has stay. nats.NoEcho() spares a server its own
// messages, if no other server in the process uses the connection.
//
// # JetStream
//
// Without JetStream, what others send while a server is cut off from NATS does not reach
// it. With Options.JetStream, events and changes of rooms are kept in a stream, which hands
// them on with their numbers (RePublish, on sio-kept.>), so that servers still get them by
// subscriptions to rooms. A server that was cut off, or too slow, reads from the stream
// what it lacks, in order, before it goes on: nothing is doubled. It then also reads what
// was sent, meanwhile, to rooms that somebody here has entered meanwhile. All servers of a
// cluster must have the same setting. Nobody needs the right to publish on sio-kept.>.
//
// With JetStream.Recovery, and Config.Recovery, sockets come back on any server, with what
// they have missed. A server then gets what is for all rooms of all namespaces, by one
// subscription, so that it sees by the numbers if something is missing. What is known of
// sockets is in a key-value bucket, whose values are two lines, with the owner and the one
// before, and JSON.
package nats
