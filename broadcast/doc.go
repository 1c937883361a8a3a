// Package broadcast is rooms and fan-out: who gets a message, and how it gets
// to very many sessions for the kernel's own cost.
//
// Nouns: a Member is one socket's place in the rooms of its namespace. Rooms
// is the index of one namespace on this server: room -> members, one shard for
// each loop. A fan-out is one message on its way to the members of one shard.
// Adapter is the extension point: it joins the namespaces of several servers. Local
// is this server's part of a namespace, Remote the others'.
//
//	Broadcast -> for each loop: snapshot of its members -> one job -> fan-out on the loop
//	fan-outs  -> 64 members -> their queues -> sockets written -> other sockets' turn -> the next 64
//
// Fan-outs that are there together go around the members together, in a lap: a
// member gets all their messages in one write.
//
// # Order
//
// A fan-out yields, so what is sent to one member alone could overtake it.
// Members and fan-outs therefore count: each fan-out of a shard has a number,
// and a member remembers the last one that is settled for it. Before anything
// else is sent to a member, Settle delivers the fan-outs under way to it. The
// same number keeps a member of several rooms from getting a message twice.
//
// # Who owns what
//
// The index of a shard is guarded by its mutex, which is never held while
// writing. A fan-out works on a snapshot of the members as they were when
// Broadcast was called: adding appends behind it, and the first removal after
// a snapshot copies the list. What a fan-out changes is owned by its loop.
//
// The package does not know Socket.IO packets, acks or namespaces by name.
package broadcast
