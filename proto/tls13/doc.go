// Package tls13 is the record layer of an established TLS 1.3 connection (RFC 8446,
// section 5): records are sealed and opened with keys that somebody else has agreed
// on. There is no handshake, no certificate and no negotiation here: that is
// crypto/tls's, whose keys come by Keys.Init.
//
// Nouns: Keys are one direction's secret, key and sequence number, some 100 bytes, all
// that an idle connection has to keep. A Cipher is made of them for as long as records
// come close together: it takes a kilobyte and saves a microsecond a record.
//
//	peer's bytes -> ConsumeHeader -> Cipher.Open -> content and its type
//	content -> Cipher.Append -> record -> peer
//
// The caller owns Keys and Ciphers, one goroutine at a time, and follows the protocol's
// rules about what may come when: see netpoll. Nothing is copied and nothing kept; the
// records are opened where they lie.
package tls13
