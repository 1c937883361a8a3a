// Package proto holds the codecs of the two protocols: eio, Engine.IO packets
// and payloads, and sio, Socket.IO packets, attachments and their JSON.
//
// Both are pure: no I/O, clock, goroutine, pool or logger. ConsumeX reads from
// bytes and returns views into them; AppendX writes to the end of a slice.
// Neither knows the other.
package proto
