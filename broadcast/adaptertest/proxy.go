package adaptertest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between an adapter and its bus, and can fail in their place.
type Proxy struct {
	// Immutable after NewProxy.
	l  net.Listener
	to string

	// Any goroutine (atomic).
	in, out atomic.Int64 // bytes to the adapter, and from it
	delay   atomic.Int64 // ns, of each read

	// Guarded by mu.
	mu      sync.Mutex
	turn    sync.Cond // broadcast when stalled or ended changes
	conns   map[*net.TCPConn]struct{}
	down    bool
	stalled bool
	ended   bool
}

// NewProxy makes a proxy to an address.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{l: l, to: to, conns: map[*net.TCPConn]struct{}{}}
	p.turn.L = &p.mu
	go p.serve()
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.ended = true
		p.turn.Broadcast()
		p.mu.Unlock()
		p.Reset()
	})
	return p
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Cut has it refuse connections, and reset those that there are, or work again.
func (p *Proxy) Cut(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.Reset()
	}
}

// Reset resets all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
		delete(p.conns, c)
	}
}

// Delay has whatever goes through it wait.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Stall has nothing read any more, in either direction, and no connection closed; or it ends
// that.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
	p.turn.Broadcast()
}

// wait waits while the proxy is stalled.
func (p *Proxy) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.ended {
		p.turn.Wait()
	}
}

// Bytes are those that went to the adapter, and came from it.
func (p *Proxy) Bytes() (in, out int64) { return p.in.Load(), p.out.Load() }

func (p *Proxy) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.link(c.(*net.TCPConn))
	}
}

// add notes a connection; false if it is to be closed.
func (p *Proxy) add(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.ended {
		_ = c.SetLinger(0)
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) link(c *net.TCPConn) {
	if !p.add(c) {
		return
	}
	p.wait()
	d, err := net.DialTimeout("tcp", p.to, 5*time.Second)
	if err != nil {
		_ = c.Close()
		return
	}
	b := d.(*net.TCPConn)
	if !p.add(b) {
		_ = c.Close()
		return
	}
	go p.pipe(c, b, &p.in)
	p.pipe(b, c, &p.out)
}

func (p *Proxy) pipe(to, from *net.TCPConn, n *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			p.wait()
			if d := p.delay.Load(); d > 0 {
				time.Sleep(time.Duration(d))
			}
			n.Add(int64(k))
			if _, werr := to.Write(buf[:k]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if err != io.EOF {
				_ = to.SetLinger(0)
			}
			_, _ = to.Close(), from.Close()
			p.mu.Lock()
			delete(p.conns, to)
			delete(p.conns, from)
			p.mu.Unlock()
			return
		}
	}
}
