// Package ws is the codec of WebSocket as a server needs it (RFC 6455), with
// permessage-deflate (RFC 7692): the opening handshake, frames and the messages
// that they make, close codes.
//
//	Handshake.Check, Extensions, Protocols -> Response.Append -> bytes
//	bytes -> Reader.ConsumeFrame -> Event: a message, a ping, a close
//	                                Event: Deflated -> Inflate, on any goroutine
//	AppendFrameHeader, PutFrameHeader, AppendDeflatedFrame, AppendClose -> bytes
//
// It reads from memory and knows no socket, clock or goroutine. A message that
// lies in the input as a whole is delivered where it lies; one that arrives in
// pieces is assembled in a buffer of package bytepool, which grows with the bytes
// that are here and never by a length that a peer declares. From gobwas/ws come
// the header's check and the cipher; its readers block and have no limits. From
// klauspost/compress comes DEFLATE (docs/decisions/0006-flate.md).
package ws
