package proxyproto

import (
	"bytes"
	"net/netip"
)

// Version 1 is a line of text (section 2.1):
//
//	PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 CR LF
//	PROXY TCP6 2001:db8::1 2001:db8::2 56324 443 CR LF
//	PROXY UNKNOWN [anything] CR LF

const v1Begin = "PROXY "

func consumeV1(b []byte) (h Header, n int, err error) {
	if n := begins(b, v1Begin); n < len(v1Begin) && n < len(b) {
		return h, 0, &Error{n, "this is no header"}
	}
	end := bytes.IndexByte(b[:min(len(b), MaxV1Bytes)], '\n')
	switch {
	case end < 0 && len(b) >= MaxV1Bytes:
		return h, 0, &Error{MaxV1Bytes, "the line is too long"}
	case end < 0:
		return h, 0, nil
	case b[end-1] != '\r':
		return h, 0, &Error{end, "the line does not end in CRLF"}
	}
	h.Version = 1
	line := b[len(v1Begin) : end-1]
	at := len(v1Begin)
	family, line, more := bytes.Cut(line, space)
	if string(family) == "UNKNOWN" {
		return h, end + 1, nil // "the receiver must ignore anything presented before the CRLF"
	}
	is4 := string(family) == "TCP4"
	if !is4 && string(family) != "TCP6" || !more {
		return h, 0, &Error{at, "the family is unknown"}
	}
	at += len(family) + 1
	// The addresses, then the ports, with one space between each.
	var words [4][]byte
	for i := range words {
		words[i], line, more = bytes.Cut(line, space)
		if more != (i < 3) {
			return h, 0, &Error{at, "there are not two addresses and two ports"}
		}
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		a, ok := parseAddr(words[i], is4)
		if !ok {
			return h, 0, &Error{at, "an address is malformed"}
		}
		port, ok := parsePort(words[i+2])
		if !ok {
			return h, 0, &Error{at, "a port is malformed"}
		}
		ends[i] = netip.AddrPortFrom(a, port)
	}
	h.Source, h.Destination = ends[0], ends[1]
	return h, end + 1, nil
}

var space = []byte{' '}

func parseAddr(b []byte, is4 bool) (netip.Addr, bool) {
	// No longer one is an address; the conversion does not allocate.
	if len(b) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil || a.Is4() != is4 || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

func parsePort(b []byte) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return uint16(n), n <= 0xffff
}
