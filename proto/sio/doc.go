// Package sio is the wire format of Socket.IO, protocol version 5: packets,
// binary attachments with their placeholders, and the JSON around them.
//
//	message -> Limits.ConsumePacket -> Packet (header, and the JSON unread)
//	Packet.Data -> SplitArray -> EventName, arguments (views)
//	Packet -> AppendHeader, then the JSON -> message
//
// JSON from peers is checked by a scanner that follows RFC 8259 strictly, keeps
// no more than a bit for each level of nesting, and allocates nothing. It finds
// where arguments begin and end; what they mean is for the caller's decoder.
package sio
