package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is between a client and a server, and can be slow, or worse.
type Proxy struct {
	Addr string

	to string
	l  net.Listener

	// Guarded by mu.
	mu      sync.Mutex
	turn    sync.Cond
	conns   map[*net.TCPConn]bool
	delay   time.Duration
	stalled bool
	closed  bool
}

// NewProxy starts a proxy, for as long as the test runs.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, l: l, conns: map[*net.TCPConn]bool{}}
	p.turn.L = &p.mu
	go p.accept()
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.turn.Broadcast()
		p.mu.Unlock()
		_ = l.Close()
		p.Reset()
	})
	return p
}

// Delay has all that is read wait.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Stall has nothing read any more, in either direction, and no connection closed; or it ends
// that.
func (p *Proxy) Stall(on bool) { p.set(func() { p.stalled = on }) }

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.turn.Broadcast()
}

// Reset resets all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.serve(c.(*net.TCPConn))
	}
}

func (p *Proxy) serve(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	if !p.wait() {
		return
	}
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	s := d.(*net.TCPConn)
	p.mu.Lock()
	p.conns[c], p.conns[s] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, s) })
	both.Go(func() { p.copy(s, c) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// wait waits while the proxy is stalled; false if it has been closed.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed {
		p.turn.Wait()
	}
	return !p.closed
}

func (p *Proxy) copy(to, from *net.TCPConn) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.wait() {
			return
		}
		p.mu.Lock()
		d := p.delay
		p.mu.Unlock()
		time.Sleep(d)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
