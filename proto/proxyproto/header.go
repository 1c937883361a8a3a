package proxyproto

import (
	"errors"
	"net/netip"
	"strconv"
)

// Header is what a proxy tells of a connection.
type Header struct {
	// Source is the peer's address, and Destination the one that it has connected to.
	// Both are zero if the header names none that there could be here: LOCAL, UNKNOWN, a
	// Unix socket, datagrams. The connection's own addresses hold then.
	Source, Destination netip.AddrPort

	// Version is 1 or 2.
	Version uint8

	// Local says that the proxy has made the connection itself, to see whether somebody
	// is there.
	Local bool

	// TLS says that the peer has spoken TLS, which has ended at the proxy.
	TLS bool
}

const (
	// MaxV1Bytes is the length of the longest header of version 1 (section 2.1).
	MaxV1Bytes = 107

	// MaxV2Bytes bounds a header of version 2. Section 2.2 allows 64 KiB, which would be
	// of no use but to an attack; 536 bytes hold what proxies send without a client's
	// certificate.
	MaxV2Bytes = v2Fixed + 4096
)

// ErrHeader is what every *Error wraps.
var ErrHeader = errors.New("proxyproto: no header of the PROXY protocol")

// Error tells what is wrong with a header.
type Error struct {
	Offset int // of the byte at which it was seen
	Reason string
}

func (e *Error) Error() string {
	return "proxyproto: " + e.Reason + ", at byte " + strconv.Itoa(e.Offset)
}

// Unwrap is ErrHeader.
func (e *Error) Unwrap() error { return ErrHeader }

// ConsumeHeader reads the header that begins b; n is its length. n == 0 without an
// error means that more is needed. b is not kept.
func ConsumeHeader(b []byte) (h Header, n int, err error) {
	if len(b) == 0 {
		return h, 0, nil
	}
	if b[0] == v2Signature[0] {
		return consumeV2(b)
	}
	return consumeV1(b)
}

// begins tells how many bytes of b are those of prefix.
func begins(b []byte, prefix string) int {
	n := 0
	for n < len(b) && n < len(prefix) && b[n] == prefix[n] {
		n++
	}
	return n
}
