// Package eio is the wire format of Engine.IO, protocol version 4: packets,
// polling payloads, and the handshake. Functions whose names end in V3 are for
// version 3, in so far as it differs.
//
// A packet is a type and data. Its text form, type digit and data, is a
// WebSocket text frame, or a record of a polling payload; binary data is a
// WebSocket binary frame of its own, or, in a payload, 'b' and base64.
//
//	websocket text frame -> ConsumePacket -> Packet
//	POST body -> ConsumePayload, again and again -> Packet
//	Packet -> AppendPacket -> text form
//	Handshake -> AppendHandshake -> text form of the open packet
//
// What is returned are views into the input, which stays the caller's; base64 is
// decoded in place. What a packet means, in which order packets may come, and
// whether text is UTF-8, is not judged here.
package eio
