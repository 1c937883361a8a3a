package wiretest

import (
	"net"
	"sync"
)

// Pipes is a listener whose connections a test gives it, by Conns.
type Pipes struct {
	Conns chan net.Conn

	closed chan struct{}
	once   sync.Once
}

// NewPipes makes one.
func NewPipes() *Pipes {
	return &Pipes{Conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.Conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is no address of the kernel's.
func (*Pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }
