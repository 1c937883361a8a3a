package netpoll

import (
	"errors"
	"io"
)

// What TLS 1.3 records of our own are not made for keeps its tls.Conn: TLS 1.2, suites
// that are not known, Config.PlainTLS. The tls.Conn reads and writes memory, on the loop,
// and never waits: it takes a few kilobytes and no goroutine.

// nothingHere is what a tls.Conn reads when nothing is here. As a temporary error it
// does not end the connection.
type nothingHere struct{}

var errNothingHere nothingHere

func (nothingHere) Error() string   { return "nothing is here" }
func (nothingHere) Timeout() bool   { return true }
func (nothingHere) Temporary() bool { return true }

// readOpened is Read after the handshake. Whoever reads the tls.Conn calls it: the
// loop, or net/http.
func (hs *tlsHandshake) readOpened(p []byte) (int, error) {
	if len(hs.in) == 0 {
		if hs.below != nil {
			return hs.below.Read(p)
		}
		return 0, errNothingHere
	}
	n := copy(p, hs.in)
	if hs.in = hs.in[n:]; len(hs.in) == 0 {
		hs.in = nil
	}
	return n, nil
}

func (hs *tlsHandshake) writeOpened(p []byte) (int, error) {
	if hs.below != nil {
		return hs.below.Write(p)
	}
	hs.out = append(hs.out, p...)
	return len(p), nil
}

// receiveStd has the tls.Conn open what came, and processes it.
func (c *Conn) receiveStd(b []byte) {
	l, hs := c.loop, c.tls().kept.std
	hs.in = append(hs.in, b...)
	plain := l.tls.plain[:0]
	var end error
	for end == nil {
		if cap(plain)-len(plain) < 4<<10 {
			plain = append(make([]byte, 0, 2*cap(plain)+16<<10), plain...)
		}
		var n int
		n, end = hs.conn.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
	}
	if len(hs.out) > 0 {
		c.sendRaw(hs.out)
		hs.out = nil
	}
	if cap(plain) <= 64<<10 {
		l.tls.plain = plain[:0]
	}
	if len(plain) > 0 {
		c.process(plain)
	}
	switch {
	case errors.Is(end, errNothingHere) || c.phase >= phaseClosing:
	case c.is(connMoving): // the tls.Conn tells it again, to who reads it next
	case errors.Is(end, io.EOF):
		c.peerClosed()
	default:
		l.group.stats.badTLS.Add(1)
		c.tls().flags |= toldClose // the tls.Conn has told it
		c.close(end)
	}
}

// seal has the tls.Conn make records of segs. One that has told a fault makes no more:
// what is queued is lost, and counts as written.
func (hs *tlsHandshake) seal(t *tlsState, w []byte, segs []segment) ([]byte, int) {
	hs.out = w
	n := 0
	for _, s := range segs {
		if n > 0 && n+len(s.b) > joinBytes {
			break
		}
		k, err := hs.conn.Write(s.b[:min(len(s.b), joinBytes)])
		n += k
		if err != nil {
			n = sizeOf(segs)
			break
		}
		if k < len(s.b) {
			break
		}
	}
	if t.flags&owesClose != 0 {
		_ = hs.conn.CloseWrite()
		t.flags = t.flags&^owesClose | toldClose
	}
	w, hs.out = hs.out, nil
	return w, n
}

func sizeOf(segs []segment) (n int) {
	for _, s := range segs {
		n += len(s.b)
	}
	return n
}

// alert is close_notify, unless the tls.Conn has told another alert already.
func (hs *tlsHandshake) alert() []byte {
	_ = hs.conn.CloseWrite()
	w := hs.out
	hs.out = nil
	return w
}
