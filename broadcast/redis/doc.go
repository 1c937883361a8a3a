// Package redis joins servers by Redis, in the formats of Socket.IO's own adapters for
// Node.js: such servers, and emitters, take part.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // of go-redis
//	adapter, err := sockeyeredis.New(client, sockeyeredis.Options{})
//	srv, err := sockeye.New(sockeye.Config{Adapter: adapter})
//
// New speaks as @socket.io/redis-adapter does, over publish and subscribe. NewSharded speaks
// as its createShardedAdapter does, for Redis Clusters of version 7. NewStreams speaks as
// @socket.io/redis-streams-adapter does. All servers of one system use the same.
//
// The client is the caller's, a *redis.Client or a *redis.ClusterClient; it must live until
// the adapter has been closed. Whatever its settings, what is published is not sent a second
// time when it may have arrived.
//
// With New and NewSharded a server subscribes to the rooms that somebody is in there, so
// that Redis does not send it what is for others.
//
// Nouns: nodes are the Redis servers. A subscriber keeps subscriptions as they are wanted,
// by one session for each node.
package redis
