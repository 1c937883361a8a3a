// Package msgpack translates between the JSON text of Socket.IO packets, in which
// {"_placeholder":true,"num":0} stands for an attachment, and MessagePack, which has
// binary inline. It reads and writes MessagePack as notepack.io and @msgpack/msgpack
// do, which Node's adapters and parsers use.
//
//	JSON text, attachments  -- AppendValue -->  MessagePack
//	JSON text, attachments  <-- AppendJSON --   MessagePack
//
// What is around such values, the envelopes, is written with AppendMapHead,
// AppendString and the like, and read with Split, Pairs, Text and the like: no value
// of Go's is built, and nothing is reflected upon.
//
// A value is the bytes of one MessagePack value, and nothing behind it. Views into
// what was given live as long as that does. Nothing recurses over what a peer has
// nested, and no memory is taken for a length before its bytes are there. Every
// function may be called from any goroutine.
package msgpack
