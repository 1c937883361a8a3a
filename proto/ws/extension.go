package ws

import (
	"bytes"
	"strconv"
	"strings"
)

// The negotiation of extensions (RFC 6455 section 9.1), of which
// permessage-deflate is the only one known here (RFC 7692 section 7.1). The
// parser of gobwas/ws is not used: it passes over what is malformed.

const (
	// acceptDeflate accepts an offer of permessage-deflate. Neither side keeps its
	// window from one message to the next: a connection then holds nothing between
	// messages, and a broadcast is compressed once for all. A server may ask for
	// both, whatever was offered (RFC 7692 sections 7.1.1.1 and 7.1.1.2).
	acceptDeflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"

	minWindowBits, maxWindowBits = 8, 15
)

// acceptWindow accepts an offer with server_max_window_bits, by their number less 8:
// the response then has to name it, too (section 7.1.2.1). Otherwise it does not: not
// every client takes what it has not offered.
var acceptWindow = func() (lines [maxWindowBits - minWindowBits + 1]string) {
	for i := range lines {
		lines[i] = strings.TrimSuffix(acceptDeflate, "\r\n") + "; server_max_window_bits=" + strconv.Itoa(minWindowBits+i) + "\r\n"
	}
	return lines
}()

// errUpgradeExtensions: "the recipient of such malformed data MUST immediately
// _Fail the WebSocket Connection_" (RFC 6455 section 9.1); so does package ws of
// npm.
var errUpgradeExtensions = &Refusal{Status: 400, Reason: "Sec-WebSocket-Extensions is malformed"}

// Extensions is the negotiation of a handshake. The zero value has seen no field.
type Extensions struct {
	// SmallWindows accepts offers that ask for a window below 32 KiB. Who sets it
	// keeps to MaxWindow. Otherwise they are declined.
	SmallWindows bool

	lines, offers int
	line          string
	window        int // of the accepted offer, in bits
	refused       bool
}

// Add reads a Sec-WebSocket-Extensions field; the fields of a request are added in
// their order.
func (x *Extensions) Add(b []byte) {
	x.lines++
	for b = trimOWS(b); len(b) > 0 && !x.refused; b = trimOWS(b) {
		if b[0] == ',' { // a null element, or the end of one (RFC 2616 section 2.1)
			b = b[1:]
			continue
		}
		var o extensionOffer
		var ok bool
		if b, ok = o.consume(b); !ok {
			x.refused = true
			return
		}
		x.offers++
		if x.line == "" && (x.SmallWindows || o.window == 0 || o.window == maxWindowBits) {
			x.line, x.window = o.accept(), o.window
		}
	}
}

// Accept returns the field line that accepts the first acceptable offer of
// permessage-deflate, or "". Other extensions are ignored, and offers that cannot
// be accepted declined.
func (x *Extensions) Accept() (line string, err *Refusal) {
	if x.refused || x.lines > 0 && x.offers == 0 { // 1#extension
		return "", errUpgradeExtensions
	}
	return x.line, nil
}

// MaxWindow is the size in bytes, 256 to 32,768, of the window that the peer keeps
// for what is compressed here. A message of at most so many bytes may be compressed
// for it, by any means: nothing in it refers further back than to its beginning.
// Larger ones are to go to this peer uncompressed, which is always allowed (RFC 7692
// section 6), or have to be compressed within that window.
func (x *Extensions) MaxWindow() int {
	if x.window == 0 {
		return windowBytes
	}
	return 1 << x.window
}

// extensionOffer is one element of Sec-WebSocket-Extensions, as far as it matters
// here.
type extensionOffer struct {
	deflate  bool                // permessage-deflate
	declined bool                // a parameter makes it one to decline
	seen     [deflateParams]bool // parameters
	window   int                 // server_max_window_bits, 0 without
}

// The parameters of permessage-deflate.
const (
	serverNoContextTakeover = iota
	clientNoContextTakeover
	serverMaxWindowBits
	clientMaxWindowBits
	deflateParams // how many there are
)

// accept returns the field line that accepts the offer, "" to decline it.
func (o *extensionOffer) accept() string {
	switch {
	case !o.deflate || o.declined:
		return ""
	case o.seen[serverMaxWindowBits]:
		return acceptWindow[o.window-minWindowBits]
	}
	return acceptDeflate
}

// consume reads the offer that begins b, up to a comma or the end. It is not ok
// if it is malformed.
//
//	extension       = extension-token *( ";" extension-param )
//	extension-param = token [ "=" (token | quoted-string) ]
//
// White space may stand between any two of these (RFC 6455 section 9.1 refers to
// the implied *LWS rule of RFC 2616).
func (o *extensionOffer) consume(b []byte) (rest []byte, ok bool) {
	name, b := consumeToken(b)
	if len(name) == 0 {
		return nil, false
	}
	o.deflate = equalFold(name, "permessage-deflate")
	for b = trimOWS(b); len(b) > 0 && b[0] != ','; b = trimOWS(b) {
		if b[0] != ';' {
			return nil, false
		}
		var key, value []byte
		if key, b = consumeToken(trimOWS(b[1:])); len(key) == 0 {
			return nil, false
		}
		if b = trimOWS(b); len(b) > 0 && b[0] == '=' {
			if value, b = consumeTokenOrQuoted(trimOWS(b[1:])); len(value) == 0 {
				return nil, false
			}
		}
		if o.deflate {
			o.param(key, value)
		}
	}
	return b, true
}

// param takes a parameter; value is nil if it has none. A server declines an
// offer with one that is not defined, or has a value that is not, or is there
// twice, or asks for what it does not support (RFC 7692 section 7.1).
func (o *extensionOffer) param(key, value []byte) {
	bits := windowBits(value)
	var which int
	var ok bool
	switch {
	case equalFold(key, "server_no_context_takeover"):
		which, ok = serverNoContextTakeover, value == nil
	case equalFold(key, "client_no_context_takeover"):
		which, ok = clientNoContextTakeover, value == nil
	case equalFold(key, "server_max_window_bits"):
		which, ok = serverMaxWindowBits, bits != 0
		o.window = bits
	case equalFold(key, "client_max_window_bits"):
		// The client may go below 15 as it likes: any window can be read here
		// (section 7.1.2.2).
		which, ok = clientMaxWindowBits, value == nil || bits != 0
	}
	if !ok || o.seen[which] {
		o.declined = true
		return
	}
	o.seen[which] = true
}

// windowBits reads a window size, 8 to 15 without leading zeros; 0 if it is none
// (sections 7.1.2.1 and 7.1.2.2).
func windowBits(value []byte) int {
	switch {
	case len(value) == 1 && (value[0] == '8' || value[0] == '9'):
		return int(value[0] - '0')
	case len(value) == 2 && value[0] == '1' && '0' <= value[1] && value[1] <= '5':
		return 10 + int(value[1]-'0')
	}
	return 0
}

// consumeToken reads the token that begins b, empty if none does.
func consumeToken(b []byte) (token, rest []byte) {
	n := 0
	for n < len(b) && isToken(b[n]) {
		n++
	}
	return b[:n], b[n:]
}

// consumeTokenOrQuoted reads a token, or a quoted string whose content is one (RFC
// 6455 section 9.1); value is empty if there is neither.
func consumeTokenOrQuoted(b []byte) (value, rest []byte) {
	if len(b) == 0 || b[0] != '"' {
		return consumeToken(b)
	}
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return value, b[i+1:]
		case b[i] == '\\' && i+1 < len(b):
			i++
		}
		if !isToken(b[i]) {
			break
		}
		value = append(value, b[i])
	}
	return nil, nil // no token, or without an end
}

// isToken tells whether c may be in a token (RFC 9110 section 5.6.2).
func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c))
}

func equalFold(b []byte, s string) bool { return len(b) == len(s) && strings.EqualFold(string(b), s) }

func trimOWS(b []byte) []byte { return bytes.Trim(b, " \t") }
