package netpoll

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/internal/fifo"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/tls13"
)

// A handshake is crypto/tls's, over a net.Conn in memory, on a goroutine of its own. The
// loop gives it one record at a time, so that crypto/tls never has what comes behind
// the peer's Finished.
//
//	state     event                                   next
//	--------  --------------------------------------  -------------------------------------
//	waiting   a ClientHello is here, a place is free  working
//	          no place is free                        waiting, in line; who has been parked
//	                                                  for handshakePatience is cut for it, and
//	                                                  the last to come is the next: in a flood
//	                                                  who comes now gets in before he gives up
//	working   Read finds nothing                      parked; what was written goes out
//	          the handshake is over                   open, or cut with crypto/tls's alert
//	parked    a record is here                        working
//	any       the peer has gone, the time is over     closed; a goroutine ends by itself
//
// A peer that sends nothing holds no goroutine; working ones are no more than
// processors, so that handshakes do not keep loops waiting.

// placeBytes is what a handshake takes, its goroutine and crypto/tls included.
const placeBytes = 32 << 10

// handshakePatience is how long a peer may keep its place when others stand in line.
const handshakePatience = time.Second

// lineEvery is how often a loop looks at who keeps others in line.
const lineEvery = 100 * time.Millisecond

// tlsHandshake is the net.Conn of a handshake, and of a connection that keeps its
// tls.Conn (tls_std.go).
type tlsHandshake struct {
	// Immutable after startHandshake.
	c      *Conn
	l      *Loop
	s      *tlsServer
	remote peerAddr
	conn   *tls.Conn

	// Immutable from startHandshake to opened.
	ctx    context.Context // of the user's callbacks: it ends with the connection
	cancel context.CancelFunc

	// Loop-owned.
	working bool
	parked  int64 // since when, on the loop's clock; 0 if it is not

	// Guarded by mu until the handshake is over, then tls_std.go's.
	mu     sync.Mutex
	cond   sync.Cond // signalled when in or ended changes, and for a driven loop
	in     []byte    // not read yet
	out    []byte    // not sent yet
	sent   []byte    // all that has been written: the own sequence number is found in it
	wants  bool      // Read has found nothing
	done   bool      // the handshake is over
	err    error     // what it ended with
	ended  error     // what Read returns: the connection is over
	opened bool      // the handshake is over, and the tls.Conn goes on
	below  net.Conn  // the kernel's, while it is lent; see tls_std.go

	secrets [2][]byte // the peer's, and this side's
}

// tlsLoop is what a loop knows of handshakes. Loop-owned.
type tlsLoop struct {
	places int                // taken
	line   []*Conn            // for a place; the last is the next
	parked fifo.Queue[parked] // in order; some are parked no more
	timer  Timer              // looks at who is parked, while somebody stands in line
	warm   map[*Conn]struct{} // have ciphers; nil for none
	cool   Timer              // looks at them
	plain  []byte             // what a tls.Conn has read; nil without one
}

type parked struct {
	hs *tlsHandshake
	at int64
}

func (p *parked) stale() bool { return p.hs.parked != p.at }

// places is how many handshakes a loop has at once.
func (l *Loop) places() int { return max(1, l.cfg.MaxTLSHandshakes/l.group.Len()) }

// receiveHandshake takes bytes of a handshake.
func (c *Conn) receiveHandshake(b []byte) {
	t := c.tls()
	t.in = bytepool.Append(t.in, b)
	c.stepHandshake()
}

// stepHandshake gives the next record to the handshake, if it is here.
func (c *Conn) stepHandshake() {
	t := c.tls()
	hs := t.kept.handshake
	if hs != nil && hs.working || c.phase != phaseSecure {
		return
	}
	n, whole := c.handshakeRecord(t.in, hs == nil)
	if c.phase != phaseSecure {
		return
	}
	c.setReading(!whole)
	if whole && hs == nil {
		c.startHandshake()
		return
	}
	if whole {
		hs.give(t.in.B[:n])
		t.in = drop(t.in, n)
		c.settle()
		hs.settleDriven()
		return
	}
	c.settle()
}

// drop takes n bytes off the front of a buffer, which it gives back when it is empty.
func drop(b *bytepool.Buffer, n int) *bytepool.Buffer {
	b.B = b.B[:copy(b.B, b.B[n:])]
	if len(b.B) == 0 {
		bytepool.Put(b)
		return nil
	}
	return b
}

var errNotTLS = errors.New("netpoll: what came is no TLS handshake")

// maxHandshakeRecord is the longest record that crypto/tls does not refuse by its header
// (RFC 5246, section 6.2.3).
const maxHandshakeRecord = tls13.HeaderBytes + 1<<14 + 2048

// handshakeRecord tells how long the record at the front is, and whether it is here as a
// whole. A first one that cannot be TLS's ends the connection before anything is made of
// it; what is wrong behind it is crypto/tls's to tell the peer.
func (c *Conn) handshakeRecord(in *bytepool.Buffer, first bool) (n int, whole bool) {
	if in == nil {
		return 0, false
	}
	b := in.B
	if first && (b[0] != 22 || len(b) >= tls13.HeaderBytes && b[1] != 3) {
		c.notTLS(b)
		return 0, false
	}
	if len(b) < tls13.HeaderBytes {
		return 0, false
	}
	n = tls13.HeaderBytes + int(binary.BigEndian.Uint16(b[3:]))
	switch {
	case first && (n > tls13.MaxRecord || n == tls13.HeaderBytes):
		c.notTLS(b)
		return 0, false
	case n > maxHandshakeRecord:
		n = tls13.HeaderBytes // which is refused by it
	}
	return n, len(b) >= n
}

// notTLS ends a connection whose peer does not speak TLS: one that speaks HTTP is told.
func (c *Conn) notTLS(b []byte) {
	c.loop.group.stats.badTLS.Add(1)
	if hs := c.tls().kept.handshake; hs == nil && b[0] >= 'A' && b[0] <= 'Z' {
		c.releaseTLS()
		c.layers &^= layerTLS // it is told without
		c.refuse(&http1.Error{Status: 400, Reason: "this port speaks TLS: use https or wss"}, "")
		c.close(errNotTLS)
		return
	}
	c.abort(errNotTLS)
}

// startHandshake takes a place for a handshake, or stands in line.
func (c *Conn) startHandshake() {
	l := c.loop
	if l.tls.places >= l.places() {
		l.makePlace()
		l.group.stats.waitingTLS.Add(1)
		l.tls.line = append(l.tls.line, c)
		l.Arm(&l.tls.timer, (*tlsLine)(l), lineEvery)
		return
	}
	l.tls.places++
	l.group.memory.Add(placeBytes)
	var scratch [64]byte
	remote, _ := c.AppendRemoteAddr(scratch[:0])
	hs := &tlsHandshake{c: c, l: l, s: l.group.secure, remote: peerAddr(remote), working: true}
	hs.cond.L = &hs.mu
	hs.conn = tls.Server(hs, hs.s.base)
	hs.ctx, hs.cancel = context.WithCancel(context.Background())
	t := c.tls()
	t.kept.handshake = hs
	n := tls13.HeaderBytes + int(binary.BigEndian.Uint16(t.in.B[3:]))
	hs.in = slices.Clone(t.in.B[:n])
	t.in = drop(t.in, n)
	c.settle()
	go hs.run()
	hs.settleDriven()
}

// makePlace cuts who has been parked for the longest time, if that is long: its
// goroutine then gives the place back.
func (l *Loop) makePlace() {
	for l.tls.parked.Len() > 0 {
		p := *l.tls.parked.Front()
		if !p.stale() && l.now-p.at < int64(handshakePatience) {
			return
		}
		if l.tls.parked.Drop(); !p.stale() {
			l.group.stats.timeouts.Add(1)
			p.hs.c.abort(ErrTimeout)
			return
		}
	}
}

// tlsLine is the loop, for the timer of who stands in line.
type tlsLine Loop

// Expire is for the loop's timers only.
func (x *tlsLine) Expire(*Timer) {
	l := (*Loop)(x)
	l.tls.line = slices.DeleteFunc(l.tls.line, func(c *Conn) bool { return c.loop != l || c.phase != phaseSecure })
	for range l.tls.line {
		l.makePlace()
	}
	if l.serveLine(); len(l.tls.line) > 0 {
		l.Arm(&l.tls.timer, x, lineEvery)
	}
}

// serveLine gives free places to who stands in line.
func (l *Loop) serveLine() {
	for l.tls.places < l.places() && len(l.tls.line) > 0 {
		last := len(l.tls.line) - 1
		c := l.tls.line[last]
		l.tls.line[last] = nil
		if l.tls.line = l.tls.line[:last]; c.loop == l && c.phase == phaseSecure {
			c.startHandshake()
		}
	}
}

// run is the handshake's goroutine.
func (hs *tlsHandshake) run() {
	hs.s.working <- struct{}{}
	completed := false
	defer func() { // whatever the user's GetCertificate does
		v := recover()
		if !completed {
			hs.err = errors.New("netpoll: a callback of Config.TLS has panicked")
			hs.l.group.stats.panics.Add(1)
			hs.l.cfg.Logger.Error("netpoll: panic in a callback of Config.TLS", "panic", v)
		}
		<-hs.s.working
		hs.mu.Lock()
		hs.done = true
		hs.cond.Broadcast()
		hs.mu.Unlock()
		if !hs.l.group.manual() {
			hs.l.PostNow(steppedOnLoop, hs, nil, 0)
		}
	}()
	hs.err = hs.conn.HandshakeContext(hs.ctx)
	completed = true
}

// give gives crypto/tls a record.
func (hs *tlsHandshake) give(rec []byte) {
	hs.working, hs.parked = true, 0
	hs.mu.Lock()
	hs.in = append(hs.in, rec...)
	hs.wants = false
	hs.cond.Broadcast()
	hs.mu.Unlock()
}

// settleDriven waits, on a loop that a test turns, for what crypto/tls does.
func (hs *tlsHandshake) settleDriven() {
	if !hs.l.group.manual() {
		return
	}
	hs.mu.Lock()
	for !hs.done && !(hs.wants && len(hs.in) == 0) {
		hs.cond.Wait()
	}
	hs.mu.Unlock()
	hs.stepped()
}

func steppedOnLoop(a, _ any) { a.(*tlsHandshake).stepped() }

// stepped goes on when crypto/tls waits for the next record, or is done.
func (hs *tlsHandshake) stepped() {
	c, l := hs.c, hs.l
	hs.mu.Lock()
	out, done := hs.out, hs.done
	hs.out = nil
	hs.mu.Unlock()
	hs.working = false
	if done {
		l.tls.places--
		l.group.memory.Add(-placeBytes)
		defer l.serveLine()
	}
	if c.phase != phaseSecure {
		return // it is over
	}
	if len(out) > 0 {
		c.sendRaw(out)
	}
	switch {
	case !done:
		hs.parked = max(1, l.now)
		l.park(hs)
		c.stepHandshake()
	case hs.err != nil:
		l.group.stats.badTLS.Add(1)
		c.close(hs.err) // behind the alert
	default:
		c.opened(hs)
	}
}

func (l *Loop) park(hs *tlsHandshake) {
	for l.tls.parked.Len() > 0 && l.tls.parked.Front().stale() {
		l.tls.parked.Drop()
	}
	l.tls.parked.Push(parked{hs, hs.parked})
}

// opened goes on after a handshake: with keys, or with the tls.Conn.
func (c *Conn) opened(hs *tlsHandshake) {
	t := c.tls()
	state := hs.conn.ConnectionState()
	t.kept.handshake = nil
	t.info = unique.Make(tlsInfo{state.Version, state.CipherSuite, state.NegotiatedProtocol, state.ServerName, state.DidResume})
	t.flags |= tlsOpen
	if len(state.PeerCertificates) > 0 {
		t.kept.state = &state
	}
	if !hs.takeKeys(t, &state) {
		c.loop.group.stats.keptTLS.Add(1)
		hs.opened = true
		t.kept.std = hs
	}
	hs.sent, hs.secrets, hs.ctx, hs.cancel = nil, [2][]byte{}, nil, nil
	if *t.kept == (tlsKept{}) {
		t.kept = nil
	}
	c.loop.group.stats.tls.Add(1)
	if state.NegotiatedProtocol == acmeProtocol {
		c.close(nil)
		return
	}
	c.enter(phaseHead)
	in := t.in
	t.in = nil
	if in != nil {
		c.received(in.B)
		bytepool.Put(in)
	}
	if c.phase < phaseClosing && !c.is(connPaused|connMoving) {
		c.setReading(true)
	}
}

// takeKeys takes the connection over from crypto/tls, if it is one of TLS 1.3 of which
// everything is known.
func (hs *tlsHandshake) takeKeys(t *tlsState, state *tls.ConnectionState) bool {
	if state.Version != tls.VersionTLS13 || len(hs.in) > 0 ||
		!t.read.Init(state.CipherSuite, hs.secrets[0]) || !t.write.Init(state.CipherSuite, hs.secrets[1]) {
		return false
	}
	clear(hs.secrets[0])
	clear(hs.secrets[1])
	// What has been sent with the application key already, tickets: the record numbers
	// go on behind.
	w := t.write.Cipher()
	for b := hs.sent; len(b) > tls13.HeaderBytes; {
		n := min(tls13.HeaderBytes+int(binary.BigEndian.Uint16(b[3:])), len(b))
		if tls13.ContentType(b[0]) == tls13.ApplicationData {
			_, _, _ = w.Open(b[:n], &t.write)
		}
		b = b[n:]
	}
	return true
}

// keyLog is where crypto/tls tells a connection's secrets (its KeyLogWriter).
type keyLog tlsHandshake

// Write is for crypto/tls: "LABEL client_random secret".
func (k *keyLog) Write(line []byte) (int, error) {
	f := bytes.Fields(line)
	if len(f) != 3 {
		return len(line), nil
	}
	i := slices.Index([]string{"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}, string(f[0]))
	if i < 0 {
		return len(line), nil
	}
	var err error
	k.secrets[i], err = hex.AppendDecode(nil, f[2])
	return len(line), err
}

// Read is for crypto/tls.
func (hs *tlsHandshake) Read(p []byte) (int, error) {
	if hs.opened {
		return hs.readOpened(p)
	}
	hs.mu.Lock()
	if len(hs.in) == 0 && hs.ended == nil {
		hs.wants = true
		hs.cond.Broadcast()
		hs.mu.Unlock()
		<-hs.s.working
		if !hs.l.group.manual() {
			hs.l.PostNow(steppedOnLoop, hs, nil, 0)
		}
		hs.mu.Lock()
		for len(hs.in) == 0 && hs.ended == nil {
			hs.cond.Wait()
		}
		hs.mu.Unlock()
		hs.s.working <- struct{}{}
		hs.mu.Lock()
	}
	defer hs.mu.Unlock()
	if hs.ended != nil {
		return 0, hs.ended
	}
	n := copy(p, hs.in)
	hs.in = hs.in[n:]
	return n, nil
}

// Write is for crypto/tls.
func (hs *tlsHandshake) Write(p []byte) (int, error) {
	if hs.opened {
		return hs.writeOpened(p)
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.out = append(hs.out, p...)
	hs.sent = append(hs.sent, p...)
	return len(p), nil
}

// end lets the goroutine end: the connection is over. A driven loop waits for it.
func (hs *tlsHandshake) end() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if !hs.wants { // it may wait in a callback; who waits in Read is woken without a goroutine more
		hs.cancel()
	}
	hs.ended = net.ErrClosed
	hs.cond.Broadcast()
	if hs.done || !hs.l.group.manual() {
		return
	}
	for !hs.done {
		hs.cond.Wait()
	}
	hs.l.PostNow(steppedOnLoop, hs, nil, 0) // as run does on other loops
}

// RemoteAddr is for the user's callbacks.
func (hs *tlsHandshake) RemoteAddr() net.Addr { return hs.remote }

// LocalAddr is for crypto/tls.
func (hs *tlsHandshake) LocalAddr() net.Addr { return peerAddr("") }

// peerAddr is an address as text.
type peerAddr string

func (a peerAddr) Network() string { return "tcp" }
func (a peerAddr) String() string  { return string(a) }

// Close and the deadlines are for crypto/tls: the loop closes, and has its own.
func (hs *tlsHandshake) Close() error                     { return nil }
func (hs *tlsHandshake) SetDeadline(time.Time) error      { return nil }
func (hs *tlsHandshake) SetReadDeadline(time.Time) error  { return nil }
func (hs *tlsHandshake) SetWriteDeadline(time.Time) error { return nil }
