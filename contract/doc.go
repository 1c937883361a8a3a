// Package contract tells peers what a server sends and takes: as types of TypeScript for
// socket.io-client, and as an AsyncAPI document. It finds what breaks peers between two of
// them.
//
//	*sockeye.Server -> Of -> Contract -> TypeScript, AsyncAPI
//	                            ^               |
//	                            '---- Read <----'   Breaking(old, new)
//
// A Contract has Entries, one a namespace, or one for all children of a parent. An entry has
// events, which are sent or taken. An argument has a shape: what its JSON is like. Shapes
// with a name, which may hold themselves, are the contract's types.
//
// Test is for a test of the user's: it holds the files in a repository to what is
// registered. The command cmd/sockeye runs that test, and writes them.
//
// It does not look into source code, but for the constants of string types. It describes
// JSON: not a Codec, or a Parser, of the user's.
package contract
