package adaptertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Switchboard is an address behind which there is one server or another.
type Switchboard struct {
	ln net.Listener

	// Guarded by mu.
	mu     sync.Mutex
	to     string
	conns  map[net.Conn]struct{}
	pairs  map[net.Conn]net.Conn // clients' connections, and those to servers
	closed bool
}

// NewSwitchboard makes one. Connections are refused before Switch.
func NewSwitchboard(t testing.TB) *Switchboard {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Switchboard{ln: ln, conns: map[net.Conn]struct{}{}, pairs: map[net.Conn]net.Conn{}}
	t.Cleanup(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		_ = ln.Close()
		b.Cut()
	})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return b
}

// Addr is the address.
func (b *Switchboard) Addr() string { return b.ln.Addr().String() }

// Switch has new connections go to a server; "" refuses them.
func (b *Switchboard) Switch(to string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = to
}

// Cut resets all connections.
func (b *Switchboard) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(b.conns)
}

// Strand resets the clients' connections alone: the servers take them for alive until the
// test ends.
func (b *Switchboard) Strand() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.pairs {
		delete(b.pairs, c)
		_ = c.Close()
	}
}

// serve connects a client with the server.
func (b *Switchboard) serve(c net.Conn) {
	b.mu.Lock()
	to := b.to
	b.mu.Unlock()
	if to == "" {
		_ = c.Close()
		return
	}
	s, err := net.Dial("tcp", to)
	if err != nil {
		_ = c.Close()
		return
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		_, _ = c.Close(), s.Close()
		return
	}
	b.conns[c], b.conns[s] = struct{}{}, struct{}{}
	b.pairs[c] = s
	b.mu.Unlock()
	pipe := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		b.mu.Lock()
		_, together := b.pairs[c]
		together = together || src == s
		b.mu.Unlock()
		if together {
			_ = dst.Close()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, src)
		delete(b.pairs, src)
	}
	go pipe(s, c)
	pipe(c, s)
}
