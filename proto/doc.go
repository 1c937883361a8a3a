// Package proto holds the codecs: tls13, the records of TLS 1.3; http1, what a server
// needs of HTTP/1.1; proxyproto, the PROXY protocol's header; ws, WebSocket; eio, Engine.IO packets and payloads; and sio, Socket.IO packets,
// attachments and their JSON.
//
// All are pure: no I/O, clock, goroutine or logger, and but for ws, which
// assembles messages, no pool. ConsumeX reads from bytes and returns views into
// them; AppendX writes to the end of a slice. None knows another.
package proto
