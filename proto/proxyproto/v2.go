package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// Version 2 is binary (section 2.2):
//
//	12 bytes   the signature
//	4 bits     the version, 2
//	4 bits     the command: 0 is LOCAL, 1 PROXY
//	4 bits     the family: 0 is none, 1 IPv4, 2 IPv6, 3 Unix
//	4 bits     the transport: 0 is none, 1 a stream, 2 datagrams
//	2 bytes    the length of what follows
//	           the addresses, by the family
//	           TLVs: a byte of type, two of length, the value

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Fixed     = 16
)

// The types of TLVs that are looked at (section 2.2.7).
const (
	typeCRC32C = 0x03
	typeSSL    = 0x20
)

const clientSSL = 0x01 // PP2_CLIENT_SSL

func consumeV2(b []byte) (h Header, n int, err error) {
	if n := begins(b, v2Signature); n < len(v2Signature) {
		if n < len(b) {
			return h, 0, &Error{n, "this is no header"}
		}
		return h, 0, nil
	}
	if len(b) > 12 && (b[12]>>4 != 2 || b[12]&15 > 1) {
		return h, 0, &Error{12, "the version or the command is unknown"}
	}
	if len(b) > 13 && (b[13]>>4 > 3 || b[13]&15 > 2) {
		return h, 0, &Error{13, "the family or the transport is unknown"}
	}
	if len(b) < v2Fixed {
		return h, 0, nil
	}
	family, transport := b[13]>>4, b[13]&15
	local := b[12]&15 == 0
	size := int(binary.BigEndian.Uint16(b[14:]))
	addresses := [4]int{0, 12, 36, 216}[family]
	switch {
	case size > MaxV2Bytes-v2Fixed:
		return h, 0, &Error{14, "the header is too long"}
	case !local && size < addresses:
		return h, 0, &Error{14, "the header is too short for its addresses"}
	case len(b) < v2Fixed+size:
		return h, 0, nil
	}
	h.Version = 2
	n = v2Fixed + size
	if local {
		h.Local = true // "and discard the protocol block including the family which is ignored"
		return h, n, nil
	}
	if err := h.readTLVs(b[:n], v2Fixed+addresses); err != nil {
		return Header{}, 0, err
	}
	if transport == 1 {
		switch a := b[v2Fixed:]; family {
		case 1:
			h.Source = addrPort(a[0:4], a[8:])
			h.Destination = addrPort(a[4:8], a[10:])
		case 2:
			h.Source = addrPort(a[0:16], a[32:])
			h.Destination = addrPort(a[16:32], a[34:])
		}
	}
	return h, n, nil
}

func addrPort(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr) // 4 or 16 bytes
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// readTLVs reads what is behind the addresses of a whole header.
func (h *Header) readTLVs(b []byte, at int) error {
	sum := 0 // where the value of the checksum is
	for at < len(b) {
		if len(b)-at < 3 {
			return &Error{at, "a TLV is cut"}
		}
		kind, size := b[at], int(binary.BigEndian.Uint16(b[at+1:]))
		if size > len(b)-at-3 {
			return &Error{at, "a TLV is longer than the header"}
		}
		value := b[at+3 : at+3+size]
		switch kind {
		case typeCRC32C:
			if size != 4 || sum > 0 {
				return &Error{at, "the checksum is malformed"}
			}
			sum = at + 3
		case typeSSL:
			if size < 5 {
				return &Error{at, "the TLV of TLS is too short"}
			}
			h.TLS = h.TLS || value[0]&clientSSL != 0
		}
		at += 3 + size
	}
	if sum > 0 && checksum(b, sum) != binary.BigEndian.Uint32(b[sum:]) {
		return &Error{sum, "the checksum is wrong"}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of a header whose own value, at sum, counts as zeros.
func checksum(b []byte, sum int) uint32 {
	c := crc32.Update(0, castagnoli, b[:sum])
	c = crc32.Update(c, castagnoli, zeros)
	return crc32.Update(c, castagnoli, b[sum+4:])
}

var zeros = make([]byte, 4)
