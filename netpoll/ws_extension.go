package netpoll

import (
	"bytes"
	"strconv"
)

// deflateResponse accepts an offer of permessage-deflate. Neither side keeps its
// window from one message to the next: a connection then holds nothing between
// messages, and a broadcast is compressed once for all.
//
// RFC 7692, sections 7.1.1.1 and 7.1.1.2: a server may ask for both, whatever was
// offered.
const deflateResponse = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"

// offersDeflate tells whether one of a request's offers of extensions is
// permessage-deflate with parameters that can be agreed to. Offers that are
// malformed are passed over, as those of unknown extensions are: the connection
// goes on without (RFC 6455, section 9.1, RFC 7692, section 5.1).
func offersDeflate(r *Request) (ok bool) {
	r.EachHeader(func(name, value []byte) {
		if ok || !bytes.EqualFold(name, []byte("Sec-WebSocket-Extensions")) {
			return
		}
		for len(value) > 0 && !ok {
			var offer []byte
			offer, value = cutOutsideQuotes(value, ',')
			ok = acceptableOffer(offer)
		}
	})
	return ok
}

// cutOutsideQuotes cuts at the first separator that is in no quoted string.
func cutOutsideQuotes(b []byte, sep byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quoted:
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == sep && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// acceptableOffer tells whether an offer is permessage-deflate, well-formed, and
// possible here.
//
// RFC 7692, section 7.1: unknown parameters, values that are not allowed, and
// parameters that repeat make an offer one to decline.
func acceptableOffer(offer []byte) bool {
	name, rest := cutOutsideQuotes(offer, ';')
	if !bytes.EqualFold(bytes.TrimSpace(name), []byte("permessage-deflate")) {
		return false
	}
	var seen [4]bool
	for rest != nil {
		var param []byte
		param, rest = cutOutsideQuotes(rest, ';')
		key, value, hasValue := bytes.Cut(param, []byte{'='})
		value = bytes.Trim(bytes.TrimSpace(value), `"`)
		i := -1
		switch string(bytes.ToLower(bytes.TrimSpace(key))) {
		case "server_no_context_takeover":
			i = 0
			if hasValue {
				return false
			}
		case "client_no_context_takeover":
			i = 1
			if hasValue {
				return false
			}
		case "client_max_window_bits":
			i = 2
			if hasValue && windowBits(value) == 0 {
				return false
			}
		case "server_max_window_bits":
			i = 3
			if windowBits(value) != 15 { // compress/flate knows no smaller window
				return false
			}
		}
		if i < 0 || seen[i] {
			return false
		}
		seen[i] = true
	}
	return true
}

// windowBits reads a window size from 8 to 15; 0 if it is none.
func windowBits(value []byte) int {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 8 || n > 15 || len(value) > 2 || value[0] == '0' || value[0] == '+' {
		return 0
	}
	return n
}
