// Package bridge joins two clusters that speak different formats, or have different buses, by
// one server that is in both: servers of Node.js and servers of Python see one set of rooms.
//
//	node, err := sockeyeredis.New(client, sockeyeredis.Options{})
//	python, err := pyredis.New(client, pyredis.Options{})
//	both, err := bridge.New(node, python, bridge.Options{Names: [2]string{"node", "python"}})
//	srv, err := sockeye.New(sockeye.Config{Adapter: both})
//
// What comes from one side is done to this server's own sockets, and passed on to the other
// side, never back: events, joins, leaves, disconnections, and events for servers. What this
// server itself sends goes to both. Namespaces are bridged that this server has.
//
// # Answers
//
// Call and FetchSockets, of this server or of a server of either side, have the answers of
// all sockets of both sides, where the formats have answers. A call of one socket whose ID
// is known on the side that asks is not passed on. CallServers of this server asks all;
// CallServers and Servers of another server are about its own side, and what it sends so is
// passed on without a wish for answers.
//
// # What one side cannot express
//
// It is left out there, and done on the other side. This server's own callers get
// broadcast.ErrUnsupported with the side's name, beside what the other side has answered; for
// what is passed on a log tells it.
//
// # When one side is down
//
// The other goes on. This server's callers get broadcast.ErrUnavailable with the side's name;
// what would be passed on to that side is counted as refused (Stats.Refused), and a log tells
// of it. Answers lack that side. A side's own servers notice nothing else.
//
// # When two servers have a bridge between the same two clusters
//
// Each message would be passed on twice, so one is at work and the others wait. They tell
// each other on both sides, in a namespace of their own (Namespace), who they are and whether
// they are at work. A bridge that has heard, for Options.Lease, of none that is at work, nor
// of one with a lower name that waits, goes to work. So the first one begins after a lease,
// and another takes over within about a lease and a quarter when it has gone, at once if it has
// been closed.
//
// A bridge that waits is an ordinary server of the first side, and of nothing else: all
// others reach its sockets by that side.
//
// One whose process was stopped for a lease passes nothing on once it knows, or hears, of
// another one, and waits for a lease: what has come to it meanwhile the other one has passed on.
//
// Those that are at work and hear of each other, because buses had been apart, log an error, and
// all but the one with the lowest name stop at once. Until then, some quarter of a lease, each
// passes on: of n at work, who is on the other side gets a message n times, and no more often,
// since what has been passed on is marked. When the server at work dies, what is sent until
// another has taken over stays on its side.
//
// # Loops
//
// Two adapters of the same cluster are not joined: a bridge that hears itself does not work, and
// logs an error.
//
// What has been passed on is marked so, in each format, and never passed on again, by whatever
// bridge. So a message crosses one bridge at most: three clusters in a row are not one.
//
// # Order
//
// What one server sends to a namespace is passed on in its order. This server's own sockets,
// and the other side, get it in the order in which it has come. Nothing is said about two
// servers, as everywhere.
package bridge
