// Package msgpack is a Parser of packets in MessagePack: each packet is one
// binary message, and binary data is part of it. Peers use
// socket.io-msgpack-parser (npm), or serializer='msgpack' (python-socketio).
//
//	srv := sockeye.New(sockeye.Config{Parser: msgpack.Parser{}})
//
// What comes from peers is scanned first, without recursion: its lengths, and
// how deeply it is nested. Only then it is given to the library that decodes it,
// github.com/vmihailenco/msgpack.
//
// Struct fields have the names that their json tags give them. JavaScript's
// undefined is read as nil, its Date as time.Time, its ArrayBuffer and typed
// arrays as []byte; other extension types as an array of the type and the bytes.
package msgpack
