package tls13

import (
	"crypto/cipher"
	"encoding/binary"
)

// ContentType is what a record has inside (RFC 8446, section 5.1).
type ContentType byte

// The content types of an established connection.
const (
	Alert           ContentType = 21
	Handshake       ContentType = 22
	ApplicationData ContentType = 23
)

const (
	// HeaderBytes are a record's before its content.
	HeaderBytes = 5
	// MaxContent is how much content a record may have.
	MaxContent = 1 << 14
	// MaxRecord is the length of the longest record, its header included: what is inside
	// may have 256 bytes more than its content (RFC 8446, section 5.2).
	MaxRecord = HeaderBytes + MaxContent + 256
	// Overhead is by how much a record that Append makes is longer than its content.
	Overhead = HeaderBytes + 1 + tagBytes

	tagBytes = 16
	version  = 0x0303 // legacy_record_version
)

// Cipher seals or opens the records of one key.
type Cipher struct {
	aead  cipher.AEAD
	nonce [12]byte
}

// AlertError is a fault of the peer's, with the alert that answers it.
type AlertError struct {
	Alert  byte // its description, RFC 8446, section 6
	Reason string
}

func (e *AlertError) Error() string { return "tls13: " + e.Reason }

// Descriptions of alerts.
const (
	AlertCloseNotify       = 0
	AlertUnexpectedMessage = 10
	AlertBadRecordMAC      = 20
	AlertRecordOverflow    = 22
	AlertIllegalParameter  = 47
	AlertDecodeError       = 50
	AlertInternalError     = 80
	AlertUserCanceled      = 90
)

var (
	errType     = &AlertError{AlertUnexpectedMessage, "a record is not encrypted"}
	errVersion  = &AlertError{AlertDecodeError, "a record has another version than 3.3"}
	errOverflow = &AlertError{AlertRecordOverflow, "a record is too long"}
	errMAC      = &AlertError{AlertBadRecordMAC, "a record is forged, damaged or out of order"}
	errNoType   = &AlertError{AlertUnexpectedMessage, "a record has no content type"}
	errWorn     = &AlertError{AlertInternalError, "a key has opened as many records as there are numbers"}
)

// ConsumeHeader reads the header of an encrypted record: n is the record's length, its
// header included, or 0 if the header is not here as a whole.
func ConsumeHeader(b []byte) (n int, err *AlertError) {
	if len(b) < HeaderBytes {
		return 0, nil
	}
	switch n = HeaderBytes + int(binary.BigEndian.Uint16(b[3:])); {
	case ContentType(b[0]) != ApplicationData:
		return 0, errType
	case binary.BigEndian.Uint16(b[1:]) != version:
		return 0, errVersion
	case n > MaxRecord:
		return 0, errOverflow
	}
	return n, nil
}

// number makes the nonce of the next record (RFC 8446, section 5.3).
func (c *Cipher) number(k *Keys) {
	c.nonce = k.iv
	tail := c.nonce[len(c.nonce)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^k.seq)
}

// Begin appends room for a record's header; the content is appended next, MaxContent
// bytes at most, and Seal makes a record of both.
func Begin(dst []byte) []byte {
	return append(dst, byte(ApplicationData), version>>8, version&0xff, 0, 0)
}

// Seal makes the next record of what Begin has begun at dst[at:]. k are the keys that
// the cipher is made of.
func (c *Cipher) Seal(dst []byte, at int, k *Keys, t ContentType) []byte {
	dst = append(dst, byte(t))
	inner := dst[at+HeaderBytes:]
	binary.BigEndian.PutUint16(dst[at+3:], uint16(len(inner)+tagBytes))
	c.number(k)
	k.seq++
	return c.aead.Seal(dst[:at+HeaderBytes], c.nonce[:], inner, dst[at:at+HeaderBytes])
}

// Append is Begin and Seal for a content of several pieces.
func (c *Cipher) Append(dst []byte, k *Keys, t ContentType, pieces ...[]byte) []byte {
	at := len(dst)
	dst = Begin(dst)
	for _, p := range pieces {
		dst = append(dst, p...)
	}
	return c.Seal(dst, at, k, t)
}

// Open opens the next record, which is whole, in place: content is a part of it.
func (c *Cipher) Open(rec []byte, k *Keys) (t ContentType, content []byte, err *AlertError) {
	if k.seq == 1<<64-1 {
		return 0, nil, errWorn
	}
	c.number(k)
	inner, fault := c.aead.Open(rec[HeaderBytes:HeaderBytes], c.nonce[:], rec[HeaderBytes:], rec[:HeaderBytes])
	if fault != nil {
		return 0, nil, errMAC
	}
	k.seq++
	if len(inner) > MaxContent+1 {
		return 0, nil, errOverflow
	}
	for n := len(inner) - 1; n >= 0; n-- { // behind the type is padding
		if inner[n] != 0 {
			return ContentType(inner[n]), inner[:n], nil
		}
	}
	return 0, nil, errNoType
}

// KeyUpdate is a KeyUpdate message (RFC 8446, section 4.6.3), which asks for one in
// return or does not.
func KeyUpdate(request bool) []byte {
	m := []byte{24, 0, 0, 1, 0}
	if request {
		m[4] = 1
	}
	return m
}

// keyUpdateBytes is how long a KeyUpdate message is.
const keyUpdateBytes = 5

// ConsumeKeyUpdate reads what handshake records have brought since the last whole
// message, which may only be a KeyUpdate: nothing else comes from a client. It may be
// split over records, and nothing follows it with the same key (RFC 8446, section 5.1).
// What is neither whole nor wrong is shorter than a KeyUpdate.
func ConsumeKeyUpdate(b []byte) (whole, requested bool, err *AlertError) {
	n := min(len(b), keyUpdateBytes-1)
	switch {
	case n == 0 || b[0] != 24:
		return false, false, &AlertError{AlertUnexpectedMessage, "a handshake message that is no KeyUpdate"}
	case string(b[:n]) != "\x18\x00\x00\x01"[:n]:
		return false, false, &AlertError{AlertDecodeError, "a KeyUpdate of another length"}
	case len(b) > keyUpdateBytes:
		return false, false, &AlertError{AlertUnexpectedMessage, "a message behind a KeyUpdate"}
	case len(b) < keyUpdateBytes:
		return false, false, nil
	case b[4] > 1:
		return false, false, &AlertError{AlertIllegalParameter, "a KeyUpdate that asks for something unknown"}
	}
	return true, b[4] == 1, nil
}
