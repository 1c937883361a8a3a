package sim

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

// Secure has every connection of the worlds speak TLS: what the kernel carries, cuts
// and loses are records.
var Secure bool

// secured is the client's end of a connection's TLS.
type secured struct {
	peer  *tlspeer.Peer
	early []byte // waits for the end of the handshake
	heard bool   // the server has sent something, and so knows of that end
	asked bool   // for a KeyUpdate, and has had no content since
}

// secure is what a seed makes of TLS. It has random numbers of its own.
func (w *world) secure(cfg *sockeye.Config) {
	w.kernel.tls = rand.New(rand.NewPCG(w.seed, 3<<32))
	w.kernel.sessions = tls.NewLRUClientSessionCache(8)
	rng := w.kernel.tls
	cfg.TLS, cfg.TLSHandshakeTimeout, cfg.PlainTLS = tlspeer.ServerConfig(), 5*time.Second, rng.IntN(10) == 0
	if rng.IntN(3) == 0 {
		cfg.MaxTLSHandshakes = 1 + rng.IntN(6)
	}
}

// clientConfig is a client's: few speak TLS 1.2, which leaves the records to crypto/tls.
func (k *kernel) clientConfig() *tls.Config {
	cfg := &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}, ServerName: "localhost"}
	if k.tls.IntN(3) == 0 {
		cfg.ClientSessionCache = k.sessions
	}
	switch k.tls.IntN(16) {
	case 0:
		cfg.MaxVersion = tls.VersionTLS12
	case 1:
		cfg.CurvePreferences = nil // a longer ClientHello
	}
	return cfg
}

// begin begins the client's handshake.
func (c *conn) begin() {
	c.tls = &secured{peer: tlspeer.New(c.k.clientConfig())}
	c.up = append(c.up, c.tls.peer.Take()...)
}

// open tells whether the handshake is over, or none is needed.
func (c *conn) open() bool { return c.tls == nil || c.tls.peer.Open() }

// write sends as soon as the handshake allows.
func (c *conn) write(b []byte) {
	switch {
	case c.tls == nil:
		c.writeRaw(b)
	case !c.open():
		c.tls.early = append(c.tls.early, b...)
	case !c.left:
		c.update()
		_ = c.tls.peer.Write(b)
		c.writeRaw(c.tls.peer.Take())
	}
}

// update has the client go on with its next key, sometimes. It asks for the same once
// for each content: crypto/tls takes 16 answers in a row.
func (c *conn) update() {
	if c.k.tls.IntN(10) > 0 {
		return
	}
	ask := !c.tls.asked && c.k.tls.IntN(2) == 0
	if c.tls.peer.KeyUpdate(ask, 1+c.k.tls.IntN(3)) && ask {
		c.tls.asked = true
	}
}

// take takes what has come.
func (c *conn) take() []byte {
	b := c.down
	c.down = nil
	if c.tls == nil {
		return b
	}
	b = c.tls.peer.Receive(b)
	if len(b) > 0 {
		c.tls.heard, c.tls.asked = true, false
	}
	c.writeRaw(c.tls.peer.Take())
	if c.open() && len(c.tls.early) > 0 {
		early := c.tls.early
		c.tls.early = nil
		c.write(early)
	}
	return b
}

// leave is when the client does not look at the connection any more: it says so by
// close_notify, or not.
func (c *conn) leave(politely bool) {
	if c.tls == nil || c.left {
		return
	}
	if politely && c.open() && c.k.tls.IntN(2) == 0 {
		c.tls.peer.Close()
		c.writeRaw(c.tls.peer.Take())
	}
	c.tls.peer.Abandon()
}

// truncated tells what is wrong with the end of the server's stream: a peer has to be
// able to tell it from one that somebody else has cut. One that is closed at once is told
// only if the kernel takes it.
func (c *conn) truncated() error {
	if c.tls == nil || c.broken || !c.ended() || !c.tls.heard || !c.shut {
		return nil
	}
	switch err := c.tls.peer.Err(); {
	case err == nil:
		return errors.New("its stream ends without close_notify")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// spoil sends what is no record that the server can open.
func (c *conn) spoil() {
	b := make([]byte, c.k.tls.IntN(100))
	for i := range b {
		b[i] = byte(c.k.tls.Uint32())
	}
	if len(b) > 5 && c.k.tls.IntN(2) == 0 { // whole, and of a known type
		copy(b, []byte{byte(20 + c.k.tls.IntN(4)), 3, 3, 0, byte(len(b) - 5)})
	}
	c.writeRaw(b)
}

// strangers are connections of nobody's, which come no further than the handshake.
func (w *world) strange() {
	k := w.kernel
	if len(w.strangers) == 0 || len(w.strangers) < 4 && k.tls.IntN(2) == 0 {
		c := k.dial()
		w.note("a stranger, k%d", c.name)
		if n := k.tls.IntN(4); n == 0 {
			c.up = nil
			c.spoil()
		} else if n == 1 {
			c.up = []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		} else if n == 2 {
			c.up = c.up[:k.tls.IntN(len(c.up))]
		}
		w.strangers = append(w.strangers, c)
		return
	}
	i := k.tls.IntN(len(w.strangers))
	c := w.strangers[i]
	kind := k.tls.IntN(7)
	w.note("the stranger k%d does %d", c.name, kind)
	switch kind {
	case 0:
		c.hangUp()
	case 1:
		c.abort()
	case 2:
		c.cut(w.cfg.descriptors >= 1000 && k.tls.IntN(2) == 0)
		if !c.left {
			c.abort()
		}
	case 3:
		c.spoil()
	default:
		c.take() // goes on
	}
	if c.left {
		w.strangers = append(w.strangers[:i], w.strangers[i+1:]...)
	}
}

// dismiss has the strangers go.
func (w *world) dismiss() {
	for _, c := range w.strangers {
		c.abort()
	}
	w.strangers = nil
}

// secureBytes is what may be charged for TLS beyond what can be ended for it.
func (w *world) secureBytes() (n int64) {
	if !Secure {
		return 0
	}
	for _, c := range w.kernel.fds {
		if c == nil {
			continue
		}
		n += 2*1312 + 20<<10 // ciphers, records
		if !c.open() {
			n += 32 << 10 // the place of its handshake
		}
	}
	return n
}
