// Package pyredis joins servers by Redis in the format of python-socketio (5.14 and later)
// and Flask-SocketIO, whose servers, and processes that only emit, take part.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // of go-redis
//	adapter, err := pyredis.New(client, pyredis.Options{})
//	srv, err := sockeye.New(sockeye.Config{Adapter: adapter})
//
// The client is the caller's; it must live until the adapter has been closed.
//
// All servers get all messages, by one channel: Options.Channel. Their sockets' IDs have the
// usual form, 20 characters of base64url: by it IDs and rooms are told apart.
//
// # What the format can express
//
// Events to all, to rooms and to sockets, except sockets, with binary. A call of one socket,
// by its ID. One socket, by its ID, is put into a room, taken out of one, or disconnected. A
// room is closed. All this works in both directions.
//
// # What it cannot
//
// The error is broadcast.ErrUnsupported then, and only this server's own sockets have what
// was asked for: exceptions that are rooms; calls of several sockets, or of a room; FetchSockets,
// Servers, ServerSideEmit and CallServers; Join, Leave, Disconnect of the sockets of a room;
// CloseSession. Volatile and Compress(false) count on this server alone.
//
// An event whose only argument is null arrives without arguments: so Python's servers read
// it. Python's rooms may be numbers, and such a room is the one of that text here; what is
// sent to it from here does not reach Python's sockets in it. An answer with binary in it
// cannot be sent to another server; who has asked waits in vain.
//
// Messages of versions before 5.14 are pickled. They are counted (Stats.Ignored), and not
// decoded, as everything that is not in the format.
package pyredis
