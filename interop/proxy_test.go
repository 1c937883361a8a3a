package interop_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy passes TCP connections on to a server, whose address may change, and
// cuts them all when somebody connects to its control port.
type proxy struct {
	// Immutable after startProxy.
	front, control net.Listener

	// Guarded by mu.
	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
	last   time.Time // of the last traffic
}

// quiet is how long there must have been no traffic before a cut: a polling
// client that is cut while a request is on its way behaves in ways of its own.
const quiet = 100 * time.Millisecond

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{target: target, conns: map[net.Conn]struct{}{}}
	for _, l := range []*net.Listener{&p.front, &p.control} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*l).Close() })
	}
	t.Cleanup(p.cutAll)
	go serve(p.front, p.pass)
	go serve(p.control, func(c net.Conn) {
		p.cutWhenQuiet()
		_ = c.Close()
	})
	return p
}

func serve(l net.Listener, handle func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go handle(c)
	}
}

// setTarget has further connections go to another server.
func (p *proxy) setTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// pass passes a connection on.
func (p *proxy) pass(near net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	far, err := net.Dial("tcp", target)
	if err != nil {
		_ = near.Close()
		return
	}
	p.mu.Lock()
	p.conns[near], p.conns[far] = struct{}{}, struct{}{}
	p.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way[1], io.TeeReader(way[0], p))
			done <- struct{}{}
		}()
	}
	<-done
	p.mu.Lock()
	delete(p.conns, near)
	delete(p.conns, far)
	p.mu.Unlock()
	_ = near.Close()
	_ = far.Close()
	<-done
}

// Write notes that there is traffic.
func (p *proxy) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	return len(b), nil
}

func (p *proxy) cutWhenQuiet() {
	for {
		p.mu.Lock()
		left := quiet - time.Since(p.last)
		p.mu.Unlock()
		if left <= 0 {
			p.cutAll()
			return
		}
		time.Sleep(left)
	}
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}
