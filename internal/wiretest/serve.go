package wiretest

import (
	"bufio"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Serve is a server that does to each connection what a function says, until the test's
// end. A connection ends with the function, or when it has had long enough.
func Serve(t testing.TB, long time.Duration, do func(c net.Conn, r *bufio.Reader)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(long))
				do(c, bufio.NewReader(c))
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}
