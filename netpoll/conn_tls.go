package netpoll

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/tls13"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// tls is the state of a connection with layerTLS.
func (c *Conn) tls() *tlsState { return &(*secureConn)(unsafe.Pointer(c)).tls }

// newSecureConn makes a connection whose peer is to begin with a handshake.
func newSecureConn() *Conn {
	s := &secureConn{Conn{layers: layerTLS}, tlsState{kept: new(tlsKept)}}
	return &s.Conn
}

// tlsReadBytes is how much is read at once: opening it is a part of a turn.
const tlsReadBytes = 8 << 10

// receiveTLS takes what the kernel gave, which are records.
func (c *Conn) receiveTLS(b []byte) {
	switch t := c.tls(); {
	case c.phase >= phaseClosing:
		c.process(b) // which throws it away
	case c.phase == phaseSecure:
		c.receiveHandshake(b)
	case t.std() != nil:
		c.receiveStd(b)
	default:
		c.unseal(b)
	}
}

// receiveOn goes on with what has come while nobody looked: on another loop, or at
// net/http. If the connection has been lent or moved again, that is theirs to do.
func (c *Conn) receiveOn() {
	if c.layers&layerTLS != 0 && c.phase < phaseClosing && !c.is(connMoving) {
		c.receiveTLS(nil)
	}
}

// unseal opens the records that are whole, in place, and processes their content.
func (c *Conn) unseal(b []byte) {
	t := c.tls()
	if k := t.kept; k != nil && k.end != nil {
		c.endOfTLS(k.end)
		return
	}
	in := t.in
	if in != nil {
		in = bytepool.Append(in, b)
		b, t.in = in.B, nil
	}
	plain, rest, end := c.openRecords(b)
	if end == nil && len(rest) > 0 {
		t.in = bytepool.Get(len(rest))
		t.in.B = append(t.in.B, rest...)
	}
	if len(plain) > 0 {
		t.keepEnd(end) // whoever has the connection next finds it
		c.process(plain)
	} else {
		c.settle()
	}
	bytepool.Put(in)
	if end != nil && !c.is(connMoving) {
		c.endOfTLS(end)
	}
}

func (t *tlsState) keepEnd(end error) {
	if end != nil {
		t.keep().end = end
	}
}

func (t *tlsState) keep() *tlsKept {
	if t.kept == nil {
		t.kept = new(tlsKept)
	}
	return t.kept
}

// sealedSoFar is how much has come of a record that is not here as a whole. What crypto/tls
// has of one is not known.
func (c *Conn) sealedSoFar() int {
	if c.layers&layerTLS == 0 || c.phase == phaseLent {
		return 0
	}
	if t := c.tls(); t.in != nil {
		return len(t.in.B)
	}
	return 0
}

// errCloseNotify is the peer's end of its stream.
var errCloseNotify = errors.New("netpoll: the peer has sent close_notify")

// errAlert is an alert that the peer has sent: it ends the connection.
var errAlert = errors.New("netpoll: the peer has sent a TLS alert")

// openRecords opens the records at the front of b: plain is their content, rest is
// what is no whole record yet, and end why no further one is looked at.
func (c *Conn) openRecords(b []byte) (plain, rest []byte, end error) {
	t := c.tls()
	plain = b[:0]
	var opener *tls13.Cipher
	for {
		n, fault := tls13.ConsumeHeader(b)
		if fault != nil {
			return plain, nil, fault
		}
		if n == 0 || len(b) < n {
			return plain, b, nil
		}
		if opener == nil {
			opener = c.cipher(&t.opener, &t.read, &t.usedIn)
		}
		kind, content, fault := opener.Open(b[:n], &t.read)
		if fault != nil {
			return plain, nil, fault
		}
		b = b[n:]
		if kind == tls13.ApplicationData && len(content) > 0 && !t.inMessage() {
			t.useless = 0
			if t.kept != nil {
				t.kept.looked = ws.Mark{}
			}
			plain = append(plain, content...) // behind what has been opened: never beyond
			continue
		}
		requested, end := t.other(kind, content)
		if end != nil {
			return plain, nil, end
		}
		if kind == tls13.Handshake {
			t.opener, opener = nil, nil
		}
		if requested {
			t.flags |= owesUpdate
			c.kick()
		}
	}
}

// other follows a record that is no content: end is not nil if it ends the connection;
// requested tells that a KeyUpdate is asked for.
func (t *tlsState) other(kind tls13.ContentType, content []byte) (requested bool, end error) {
	if kind == tls13.Handshake {
		return t.keyUpdate(content)
	}
	if t.inMessage() {
		return false, errBetween
	}
	switch kind {
	case tls13.ApplicationData: // empty
	case tls13.Alert:
		if end := peersAlert(content); end != nil {
			return false, end
		}
	default:
		return false, errRecordType
	}
	return false, t.countUseless()
}

// countUseless counts a record, or a KeyUpdate, with which the connection would go on.
func (t *tlsState) countUseless() error {
	if t.useless++; t.useless > maxUselessRecords {
		return errUseless
	}
	return nil
}

// inMessage tells that a handshake message has begun, and not ended.
func (t *tlsState) inMessage() bool { return t.kept != nil && len(t.kept.message) > 0 }

// keyUpdate follows a handshake record, which brings a KeyUpdate or a part of it.
func (t *tlsState) keyUpdate(content []byte) (requested bool, end error) {
	if len(content) == 0 {
		return false, errEmpty
	}
	message := content
	if t.inMessage() {
		message = append([]byte(t.kept.message), content...)
	}
	whole, requested, fault := tls13.ConsumeKeyUpdate(message)
	if fault != nil {
		return false, fault
	}
	if !whole {
		t.keep().message = string(message)
		return false, nil
	}
	if t.inMessage() {
		t.kept.message = ""
	}
	if end := t.countUseless(); end != nil {
		return false, end
	}
	t.read.Update()
	return requested, nil
}

// maxUselessRecords bounds the records in a row without content, as crypto/tls does; of
// those that bring a KeyUpdate, the last.
const maxUselessRecords = 16

var (
	errUseless    = &tls13.AlertError{Alert: tls13.AlertUnexpectedMessage, Reason: "too many records without content"}
	errBetween    = &tls13.AlertError{Alert: tls13.AlertUnexpectedMessage, Reason: "a record between those of one handshake message"}
	errEmpty      = &tls13.AlertError{Alert: tls13.AlertUnexpectedMessage, Reason: "an empty record that is no content"}
	errRecordType = &tls13.AlertError{Alert: tls13.AlertUnexpectedMessage, Reason: "a record of a type that may not come now"}
)

// peersAlert is what an alert means: nil if the connection goes on (RFC 8446, section 6).
func peersAlert(content []byte) error {
	switch {
	case len(content) == 0: // RFC 8446, section 5.4
		return errEmpty
	case len(content) != 2:
		return &tls13.AlertError{Alert: tls13.AlertDecodeError, Reason: "an alert of another length"}
	case content[1] == tls13.AlertCloseNotify:
		return errCloseNotify
	case content[1] == tls13.AlertUserCanceled:
		return nil
	}
	return errAlert
}

// endOfTLS ends a connection because of what its peer has sent.
func (c *Conn) endOfTLS(err error) {
	if c.phase >= phaseClosing {
		return
	}
	var fault *tls13.AlertError
	switch {
	case err == errCloseNotify:
		c.peerClosed()
		return
	case errors.As(err, &fault):
		c.loop.group.stats.badTLS.Add(1)
		if c.flush(); c.phase >= phaseClosing {
			return
		}
		c.tls().alert = fault.Alert
	}
	c.abort(err)
}

// cipher is a cipher of one direction's keys, used now. It is kept when it is used
// again within a second: one that comes with a heartbeat is not worth its memory.
func (c *Conn) cipher(kept **tls13.Cipher, k *tls13.Keys, used *uint8) *tls13.Cipher {
	now := uint8(c.loop.now / 1e9)
	last := *used
	*used = now
	if *kept != nil {
		return *kept
	}
	cipher := k.Cipher()
	if now-last <= 1 && !c.loop.group.memory.Near() {
		*kept = cipher
		c.warm()
	}
	return cipher
}

// cipherBytes is what a kept cipher takes.
const cipherBytes = 1312

// coolAfter is the time after which a cipher that has not been used is given up.
const coolAfter = 2 * 1e9

// warm has the loop look after a connection's ciphers.
func (c *Conn) warm() {
	l, t := c.loop, c.tls()
	c.settle()
	if t.flags&isWarm != 0 {
		return
	}
	t.flags |= isWarm
	if l.tls.warm == nil {
		l.tls.warm = map[*Conn]struct{}{}
	}
	if l.tls.warm[c] = struct{}{}; len(l.tls.warm) == 1 {
		l.Arm(&l.tls.cool, (*tlsCooler)(l), coolAfter)
	}
}

// tlsCooler is the loop, for the timer of ciphers.
type tlsCooler Loop

// Expire is for the loop's timers only.
func (x *tlsCooler) Expire(*Timer) {
	l := (*Loop)(x)
	now := uint8(l.now / 1e9)
	for c := range l.tls.warm {
		t := c.tls()
		if now-t.usedIn > 2 {
			t.opener = nil
		}
		if now-t.usedOut > 2 {
			t.sealer = nil
		}
		c.settle()
		if t.opener == nil && t.sealer == nil {
			t.flags &^= isWarm
			delete(l.tls.warm, c)
		}
	}
	if len(l.tls.warm) > 0 {
		l.Arm(&l.tls.cool, x, coolAfter)
	} else {
		l.tls.warm = nil
	}
}

// leaveTLS gives up what the loop looks after.
func (c *Conn) leaveTLS() {
	t := c.tls()
	t.opener, t.sealer = nil, nil
	if t.flags&isWarm != 0 {
		t.flags &^= isWarm
		delete(c.loop.tls.warm, c) // its timer may find nobody
	}
}

// tlsHeld is the memory that TLS holds for the connection beyond its state.
func (c *Conn) tlsHeld() (n int) {
	t := c.tls()
	for _, b := range []*bytepool.Buffer{t.in, t.out} {
		if b != nil {
			n += cap(b.B)
		}
	}
	for _, k := range []*tls13.Cipher{t.opener, t.sealer} {
		if k != nil {
			n += cipherBytes
		}
	}
	return n
}

// releaseTLS gives back what is held, and forgets the secrets.
func (c *Conn) releaseTLS() {
	t := c.tls()
	bytepool.Put(t.in)
	bytepool.Put(t.out)
	if k := t.kept; k != nil && k.handshake != nil {
		k.handshake.parked = 0
		k.handshake.end()
	}
	t.wipe()
	*t = tlsState{flags: toldClose}
}

// wipe forgets the secrets.
func (t *tlsState) wipe() {
	t.read.Wipe()
	t.write.Wipe()
	t.opener, t.sealer = nil, nil
}

// kick has a flush come although nothing of the connection's is to be written.
func (c *Conn) kick() {
	if c.out == nil {
		c.out = c.loop.newOutQueue()
		c.out.segs.Push(segment{NewBuffer(0), nil})
	}
	c.markDirty()
}

// sendRaw queues records that crypto/tls has made.
func (c *Conn) sendRaw(b []byte) {
	t := c.tls()
	t.out = bytepool.Append(t.out, b)
	c.settle()
	c.kick()
}

// recordsWait tells whether records wait that the kernel has not taken.
func (c *Conn) recordsWait() bool { return c.layers&layerTLS != 0 && c.tls().out != nil }

// writeSealed writes as much of segs as goes into one call, as records. What a record
// has of segs counts as written when the kernel has all of it: until then the queue
// keeps it, and out the rest of the record.
func (c *Conn) writeSealed(segs []segment) (int, error) {
	t, l := c.tls(), c.loop
	if t.out == nil {
		w, n := c.seal(l.write[:0], segs)
		if len(w) == 0 {
			return n, nil
		}
		k, err := l.writeTo(int(c.fd), w)
		switch {
		case err == nil && k == len(w):
			return n, nil
		case err == syscall.EAGAIN || err == syscall.EINTR:
			k = 0
		case err != nil:
			return 0, err
		}
		t.out = bytepool.Get(len(w) - k)
		t.out.B = append(t.out.B, w[k:]...)
		t.sealed, t.taken = int32(n), int32(k)
		c.settle()
		return 0, syscall.EAGAIN
	}
	k, err := l.writeTo(int(c.fd), t.out.B)
	if err != nil {
		return 0, err
	}
	t.taken += int32(k)
	if t.out = drop(t.out, k); t.out != nil {
		return 0, syscall.EAGAIN
	}
	n := int(t.sealed)
	t.sealed, t.taken = 0, 0
	c.settle()
	return n, nil
}

// maxSealed is the content of a record of 16 KiB: a little more would take a buffer of 32.
const maxSealed = 16<<10 - tls13.Overhead

// seal makes records of what is owed, and one of as much of segs as it may have: what
// the kernel then does not take is a copy, which is kept.
func (c *Conn) seal(w []byte, segs []segment) ([]byte, int) {
	t := c.tls()
	if std := t.std(); std != nil {
		return std.seal(t, w, segs)
	}
	if t.flags&tlsOpen == 0 {
		return w, 0
	}
	w, renewed := t.renew(w)
	if renewed {
		t.sealer = nil
	}
	n, i := 0, 0
	at := len(w)
	w = tls13.Begin(w)
	for i < len(segs) && n < maxSealed {
		b := segs[i].b
		k := min(len(b), maxSealed-n)
		w = append(w, b[:k]...)
		if n += k; k == len(b) {
			i++
		}
	}
	if n > 0 {
		w = c.cipher(&t.sealer, &t.write, &t.usedOut).Seal(w, at, &t.write, tls13.ApplicationData)
	} else {
		w = w[:at] // nothing but empty segments
	}
	if t.flags&owesClose != 0 && i == len(segs) {
		w = c.cipher(&t.sealer, &t.write, &t.usedOut).Append(w, &t.write, tls13.Alert, closeNotify)
		t.flags = t.flags&^owesClose | toldClose
	}
	return w, n
}

// renew appends the KeyUpdate that is owed, or due, and goes on with the next key: then
// ciphers of the one before are over.
func (t *tlsState) renew(w []byte) (_ []byte, renewed bool) {
	if t.flags&owesUpdate == 0 && !t.write.Worn() {
		return w, false
	}
	w = t.write.Cipher().Append(w, &t.write, tls13.Handshake, tls13.KeyUpdate(false))
	t.write.Update()
	t.flags &^= owesUpdate
	return w, true
}

var closeNotify = []byte{1, tls13.AlertCloseNotify} // a warning

// lastRecord is the record of an alert behind which nothing goes out.
func (t *tlsState) lastRecord(alert byte) []byte {
	t.flags |= toldClose
	content := closeNotify
	if alert != tls13.AlertCloseNotify {
		content = []byte{2, alert} // fatal
	}
	return t.write.Cipher().Append(nil, &t.write, tls13.Alert, content)
}

// endTLS has close_notify sent, if it has not been; it tells whether it is on its way.
func (c *Conn) endTLS() bool {
	if c.layers&layerTLS == 0 {
		return false
	}
	t := c.tls()
	if t.flags&tlsOpen == 0 || t.flags&(owesClose|toldClose) != 0 {
		return false
	}
	t.flags |= owesClose
	c.kick()
	return true
}

// lastAlert tells the peer why the connection ends now, if the kernel takes it.
func (c *Conn) lastAlert() {
	t := c.tls()
	if t.flags&tlsOpen == 0 || t.flags&toldClose != 0 || t.out != nil {
		return
	}
	var w []byte
	if std := t.std(); std != nil {
		t.flags |= toldClose
		w = std.alert()
	} else {
		w = t.lastRecord(t.alert)
	}
	_, _ = c.loop.writeTo(int(c.fd), w)
}
