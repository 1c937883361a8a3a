package netpoll_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockeye-io/sockeye/netpoll"
)

// TestServe: listeners that others have made, and what is none of the kernel's.
func TestServe(t *testing.T) {
	t.Parallel()
	g, _ := listen(t, netpoll.Config{Loops: 2}, &mine{})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	early := dial(t, tcp.Addr().String())
	if _, err := g.Serve(tcp, false); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{early, dial(t, tcp.Addr().String())} {
		send(t, c, "%s", get("/mine/a"))
		if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/a|" {
			t.Errorf("%q", body)
		}
	}
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	if _, err := g.Serve(below, true); err == nil {
		t.Error("TLS without Config.TLS")
	}
	packets, err := net.Listen("unixpacket", "@sockeye-"+t.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	if _, err := g.Serve(packets, false); err == nil || !strings.Contains(err.Error(), "not a stream socket") {
		t.Error(err)
	}
	_ = g.Close(t.Context())
	if _, err := g.Serve(below, false); err == nil || !strings.Contains(err.Error(), "the group is closed") {
		t.Error(err)
	}
	if _, err := below.(*net.TCPListener).SyscallConn(); err != nil {
		t.Error("what was not served is closed")
	}
	if _, err := tcp.Accept(); err == nil {
		t.Error("what was served is not closed")
	}
}

// TestServeTLS: the same listeners, for peers that speak TLS; and connections of MPTCP.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	g, _ := listenTLS(t, netpoll.Config{}, &mine{})
	for _, secure := range []bool{true, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Serve(ln, secure); err != nil {
			t.Fatal(err)
		}
		var d net.Dialer
		d.SetMultipathTCP(true)
		c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		if secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		body := string(pattern(500_000))
		go func() { _, _ = c.Write(post("/mine/a", body)) }()
		if _, got := response(t, bufio.NewReader(c), "POST"); got != "/mine/a|"+body {
			t.Errorf("TLS %v: %d bytes", secure, len(got))
		}
	}
}

// TestReusePort: two groups listen on one port, and both get connections.
func TestReusePort(t *testing.T) {
	t.Parallel()
	one, addr := listen(t, netpoll.Config{ReusePort: true}, &mine{})
	two, _ := listen(t, netpoll.Config{ReusePort: true}, &mine{})
	if _, err := two.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	other, _ := listen(t, netpoll.Config{}, &mine{})
	if _, err := other.Listen("tcp", addr); err == nil {
		t.Error("a group without ReusePort listens there, too")
	}
	for i := 0; one.Stats().Accepted == 0 || two.Stats().Accepted == 0; i++ {
		if i == 200 {
			t.Fatalf("%d and %d connections", one.Stats().Accepted, two.Stats().Accepted)
		}
		c := dial(t, addr)
		send(t, c, "%s", get("/mine/a"))
		if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/a|" {
			t.Errorf("%q", body)
		}
		_ = c.Close()
	}
	one.StopListening()
	eventually(t, "the other one has them all", func() bool {
		before := one.Stats().Accepted
		for range 20 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return false
			}
			_ = c.Close()
		}
		return one.Stats().Accepted == before
	})
}

// TestServedOptions: connections have the options of this package's own listeners, of
// MPTCP as well, which Go's listeners speak.
func TestServedOptions(t *testing.T) {
	t.Parallel()
	for _, multipath := range []bool{false, true} {
		var lc net.ListenConfig
		lc.SetMultipathTCP(multipath)
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan int, 1)
		g, _ := listen(t, netpoll.Config{}, &mine{})
		if _, err := g.Serve(ln, false); err != nil {
			t.Fatal(err)
		}
		c := dial(t, ln.Addr().String())
		send(t, c, "%s", get("/mine/a"))
		response(t, bufio.NewReader(c), "GET")
		// The descriptor is found by its peer.
		for fd := range 4096 {
			sa, err := syscall.Getpeername(fd)
			a, ok := sa.(*syscall.SockaddrInet4)
			if err != nil || !ok || a.Port != c.LocalAddr().(*net.TCPAddr).Port {
				continue
			}
			n, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
			if err != nil {
				t.Error(err)
			}
			seen <- n
			break
		}
		if n := within(t, "the descriptor", seen); n != g.Config().MaxUnsentBytes {
			t.Errorf("multipath %v: TCP_NOTSENT_LOWAT is %d", multipath, n)
		}
	}
}
