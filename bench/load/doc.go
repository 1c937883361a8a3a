// Command load puts one Socket.IO server (protocol 5 over Engine.IO 4) under
// load and prints what the server spent: memory of a connection, CPU time of a
// delivered message, throughput and latency. It speaks to any implementation
// that serves two events on the default namespace, so that servers can be
// compared under the same client:
//
//	bcast (arg)  ->  "bcast" with arg to every client, the sender included
//	echo  (arg)  ->  "echo" with arg back to the sender
//
// The client is package internal/load: one thread around epoll, without a
// goroutine a connection, since it has to cost less than the server it measures.
// It runs on Linux only, and talks to loopback addresses only.
package main
