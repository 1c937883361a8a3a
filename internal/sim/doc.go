// Package sim runs whole servers in a world that a seed decides: the network, the
// clock, and when which goroutine goes on. What comes out is compared with what was
// promised. A seed that fails does so each time.
//
//	clients -> kernel (network, descriptors) -> loops -> server -> schedule -> app
//	   ^                                                                       |
//	   +------------------------- ledger: who was to get what <----------------+
//
// One goroutine, the world's, is the clients, the network and the loops. The
// handlers' goroutines, and those that the application starts, go on one at a time,
// when the world says so: at each call of the application's, and where the server
// calls it (codec, contexts, hooks). All of them live in a bubble of package
// testing/synctest, whose clock stands still while anybody has something to do; so
// between two steps of the world everybody else waits.
//
// The kernel has partial reads and writes, windows that fill, delay, cuts at any
// byte, half-open connections, resets, and few descriptors, which it uses again at
// once. Clients speak the wire by themselves, and some of them well. With Secure all of
// that happens to TLS, by the client's end of internal/tlspeer: versions 1.2 and 1.3,
// resumed sessions, handshakes that stop, garbage between records.
//
// It does not see: what happens between two instructions of the server without a
// call of the application's in between, other kernels' errors, net/http behind
// Config.Fallback, clients of version 3, KeyUpdates of a client's.
package sim
