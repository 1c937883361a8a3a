package ws

import "bytes"

// errUpgradeProtocols: a list that is none, as package ws of npm refuses it.
var errUpgradeProtocols = &Refusal{Status: 400, Reason: "Sec-WebSocket-Protocol is malformed"}

// maxProtocols bounds the names of an offer, which are compared with each other; a
// client has few.
const maxProtocols = 32

// Protocols selects the subprotocol of a handshake: the first that the client
// offers (RFC 6455 section 4.2.2; so does package ws of npm). One that offers any
// may fail without. The zero value has seen no field. It borrows the fields until
// Accept's result is no longer used.
type Protocols struct {
	names   [maxProtocols][]byte
	n       int
	refused bool
}

// Add reads a Sec-WebSocket-Protocol field; the fields of a request are added in
// their order, and are one list (section 11.3.4). It is 1#token, whose names "MUST
// all be unique strings" (section 4.1).
func (p *Protocols) Add(b []byte) {
	for {
		name, rest := consumeToken(trimOWS(b))
		rest = trimOWS(rest)
		if len(name) == 0 || len(rest) > 0 && rest[0] != ',' || p.n == maxProtocols {
			p.refused = true
			return
		}
		for _, other := range p.names[:p.n] {
			if bytes.Equal(name, other) {
				p.refused = true
				return
			}
		}
		p.names[p.n] = name
		p.n++
		if len(rest) == 0 {
			return
		}
		b = rest[1:]
	}
}

// Accept returns the subprotocol that is selected, for Response; nil without an
// offer.
func (p *Protocols) Accept() (protocol []byte, err *Refusal) {
	switch {
	case p.refused:
		return nil, errUpgradeProtocols
	case p.n == 0:
		return nil, nil
	}
	return p.names[0], nil
}
