// Package proxyproto is the codec of the PROXY protocol, versions 1 and 2, as its
// receiver needs it: the header in which a proxy tells whose connection it passes on.
// (The document is haproxy.org/download/1.8/doc/proxy-protocol.txt; sections are its.)
//
//	bytes -> ConsumeHeader -> Header, and how many bytes it has taken
//
// It is strict: whoever may send a header decides which address a peer has, so that
// nothing is repaired. An error for some bytes is the error for whatever follows them.
// It knows no connection, clock or network, and takes no memory.
package proxyproto
