package http1

import "bytes"

// target is a request target in its parts (RFC 9112 section 3.2).
type target struct {
	authority []byte // of absolute-form only
	path      []byte
	query     []byte // nil without a "?"
}

var rootPath = []byte("/")

// splitTarget takes a target apart; ok is false when it has none of the forms
// that a server which is no proxy serves.
func splitTarget(b []byte) (t target, ok bool) {
	rest := b
	switch {
	case len(b) == 0:
		return t, false
	case b[0] == '/':
	case len(b) == 1 && b[0] == '*':
	default:
		switch {
		case len(b) > 7 && equalFold(b[:7], "http://"):
			rest = b[7:]
		case len(b) > 8 && equalFold(b[:8], "https://"):
			rest = b[8:]
		default:
			return t, false
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		t.authority = rest[:end:end]
		rest = rest[end:]
	}
	t.path = rest
	if q := bytes.IndexByte(rest, '?'); q >= 0 {
		t.path, t.query = rest[:q:q], rest[q+1:]
	}
	if len(t.path) == 0 {
		t.path = rootPath // RFC 9110 section 4.2.3
	}
	return t, true
}

// valid checks the characters. Besides those of RFC 3986 it accepts what clients
// send without encoding it, as net/http and the Node server do: quotation marks,
// brackets of all kinds, what is not ASCII. A fragment, white space and control
// characters have no place.
func (t target) valid() bool {
	// User information is refused as well (RFC 9110 section 4.2.4).
	return (t.authority == nil || validHost(t.authority)) && only(inPath, t.path) && only(inQuery, t.query)
}

// ValidHost tells whether s could be the value of a Host field that names one.
func ValidHost(s string) bool { return s != "" && validHost([]byte(s)) }

// validHost checks uri-host [ ":" port ] (RFC 9110 section 7.2). Of a reg-name
// it wants letters, digits and -._~%: no host of http has another character. An
// IPv6 address without its brackets is taken, too: the official Node client sends
// one by long-polling (xmlhttprequest-ssl 2.1), and nothing here depends on where
// its port begins.
func validHost(b []byte) bool {
	host, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return false
		}
		host, port = b[1:end], b[end+1:]
		if !only(inIPv6, host) || len(port) > 0 && port[0] != ':' {
			return false
		}
	} else {
		if bytes.Count(b, []byte(":")) > 1 {
			return isBareIPv6(b)
		}
		if i := bytes.IndexByte(b, ':'); i >= 0 {
			host, port = b[:i], b[i:]
		}
		if !only(inHost, host) {
			return false
		}
	}
	if len(port) > len(":65535") {
		return false
	}
	for i, c := range port {
		if i > 0 && !isDigit(c) {
			return false
		}
	}
	return len(host) > 0 && len(host) <= maxHostBytes
}

// maxHostBytes is the longest name of a host (RFC 1035 section 2.3.4).
const maxHostBytes = 255

func isBareIPv6(b []byte) bool {
	return only(inIPv6, b) && (bytes.Contains(b, []byte("::")) || bytes.Count(b, []byte(":")) >= 7) &&
		len(b) <= len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255:65535")
}
