package ws

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
)

// Close codes (RFC 6455 section 7.4.1) that are sent here.
const (
	closeProtocolError = uint16(gobwas.StatusProtocolError)           // 1002
	closeInvalidData   = uint16(gobwas.StatusInvalidFramePayloadData) // 1007
	closePolicy        = uint16(gobwas.StatusPolicyViolation)         // 1008
	closeTooBig        = uint16(gobwas.StatusMessageTooBig)           // 1009

	// closeNoCode stands for a close frame without a code; it is never sent.
	closeNoCode = uint16(gobwas.StatusNoStatusRcvd) // 1005
)

// Error is a fault of the peer that ends a WebSocket, as the close frame is
// to tell it.
type Error struct {
	Code   uint16
	Reason string
}

// Error is the code and the reason.
func (e *Error) Error() string { return "ws: " + strconv.Itoa(int(e.Code)) + " " + e.Reason }

var (
	errClosePayload = &Error{closeProtocolError, "the close frame has half a code"}
	errCloseCode    = &Error{closeProtocolError, "the close code must not be sent"}
	errCloseReason  = &Error{closeInvalidData, "the close reason is not UTF-8"}
)

// parseClosePayload reads the payload of a close frame: nothing, or a code and
// perhaps a reason (RFC 6455 section 5.5.1). Nothing is code 1005 (section 7.1.5).
func parseClosePayload(b []byte) (code uint16, reason string, err *Error) {
	switch len(b) {
	case 0:
		return closeNoCode, "", nil
	case 1:
		return 0, "", errClosePayload
	}
	code = binary.BigEndian.Uint16(b)
	if !validCloseCode(code) {
		return 0, "", errCloseCode
	}
	if !utf8.Valid(b[2:]) {
		return 0, "", errCloseReason
	}
	return code, string(b[2:]), nil
}

// validCloseCode tells whether a close frame may have that code (RFC 6455
// section 7.4). gobwas.CheckCloseFrameData is not used: it refuses 1012 to 1014,
// which IANA has registered since and browsers take, and lets codes from 5000 pass.
func validCloseCode(code uint16) bool {
	switch {
	case code < 1000, code >= 5000:
		return false
	case code >= 3000: // registered by libraries, or private
		return true
	case code == 1004: // reserved
		return false
	case code == closeNoCode, code == 1006: // section 7.4.1: never on the wire
		return false
	}
	return code <= 1014
}

// AppendClose appends a close frame. Code 0, and any code that must not be
// on the wire, makes one without code and reason. A reason that is too long for
// a control frame is cut between characters, and made UTF-8 where it is not.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if !validCloseCode(code) {
		return AppendFrameHeader(dst, OpClose, 0)
	}
	reason = strings.ToValidUTF8(reason, "\ufffd") // no copy if it is
	if n := maxControlBytes - 2; len(reason) > n {
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	dst = AppendFrameHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}
