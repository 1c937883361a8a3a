// Package http1 is the codec of HTTP/1.1 as a server needs it (RFC 9112): the
// head of a request, the chunked coding, the head of a response.
//
//	bytes -> Request.ParseHead -> views of the head
//	      -> ChunkedReader     -> views of the content
//	AppendResponseHead, AppendError -> bytes
//
// It is strict: doubt about where a request ends is an attack on whoever shares
// the connection, so that nothing is repaired. What is refused says so as an
// *Error, whose status and reason are the answer. It knows no connection, clock
// or path, and takes no memory by a number that a peer sent.
//
// AppendCompact and ExpandRequest keep a head in a third of its bytes.
package http1
