package engine

import "bytes"

// query are the parameters of a request that the protocol knows; views into
// the request, unless they were encoded.
type query struct {
	transport, sid, eio []byte

	jsonp []byte // j; not nil if there is one
	b64   bool
}

// parseQuery reads application/x-www-form-urlencoded, as the reference server does;
// of a parameter that is there twice the last one counts.
func parseQuery(raw []byte) (q query) {
	for len(raw) > 0 {
		var pair []byte
		pair, raw, _ = bytes.Cut(raw, []byte{'&'})
		k, v, _ := bytes.Cut(pair, []byte{'='})
		k, v = unescape(k), unescape(v)
		switch string(k) {
		case "transport":
			q.transport = v
		case "sid":
			q.sid = v
		case "EIO":
			q.eio = v
		case "j":
			q.jsonp = append([]byte{}, v...)
		case "b64":
			q.b64 = len(v) > 0
		}
	}
	return q
}

// unescape undoes the percent-encoding of b. A percent sign that begins none
// stands for itself, as in browsers and in the reference server.
func unescape(b []byte) []byte {
	i := bytes.IndexAny(b, "%+")
	if i < 0 {
		return b
	}
	out := append(make([]byte, 0, len(b)), b[:i]...)
	for ; i < len(b); i++ {
		c := b[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(b) {
			high, ok1 := hexValue(b[i+1])
			low, ok2 := hexValue(b[i+2])
			if ok1 && ok2 {
				c = high<<4 | low
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

func hexValue(c byte) (byte, bool) {
	switch {
	case c-'0' <= 9:
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
