//go:build unix

package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestPoller(t *testing.T) *poller {
	t.Helper()
	s, err := openQueue(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// dialSystem makes a connection as a loop has it, and its peer.
func dialSystem(t *testing.T, network, address string) (fd int, peer net.Conn) {
	t.Helper()
	ln, err := listen(network, address, false)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := newListener(newGroup(Config{}, nothing{}), ln, listensPlain)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.close()
	if peer, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	_ = peer.SetDeadline(time.Now().Add(30 * time.Second)) // the test fails rather than hangs
	t.Cleanup(func() { _ = peer.Close() })
	eventually(t, "a connection", func() bool {
		fd, err = accept(lis.fd)
		return err == nil
	})
	return fd, peer
}

// eventually is for what the kernel does in its own time.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not seen within 10 s: ", what)
		}
	}
}

func TestUnsentUnread(t *testing.T) {
	s := newTestPoller(t)
	fd, peer := dialSystem(t, "tcp", "127.0.0.1:0")
	defer s.Close(fd)
	if got := s.Unread(fd); got != 0 {
		t.Errorf("%d bytes wait to be read in a new connection", got)
	}
	if _, err := peer.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "1000 bytes to read", func() bool { return s.Unread(fd) == 1000 })
	if n, err := s.Read(fd, make([]byte, 300)); n != 300 || err != nil {
		t.Fatal(n, err)
	}
	if got := s.Unread(fd); got != 700 {
		t.Errorf("Unread: %d, want 700", got)
	}
	if s.Unsent(fd) != 0 {
		t.Errorf("%d bytes are unsent though nothing was written", s.Unsent(fd))
	}
	total := 0 // more than both buffers hold
	for b := make([]byte, 1<<20); ; {
		n, err := s.Write(fd, b)
		if err == syscall.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	unsent := s.Unsent(fd)
	if unsent == 0 && !tellsUnsent {
		return
	}
	if unsent <= 0 || unsent > total {
		t.Errorf("%d of %d bytes are unsent, and the peer has read nothing", unsent, total)
	}
	if n, err := io.ReadFull(peer, make([]byte, total)); n != total || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "nothing unsent", func() bool { return s.Unsent(fd) == 0 })
}

// TestReset: the peer sees an error where Close would have let it see an end.
func TestReset(t *testing.T) {
	s := newTestPoller(t)
	for name, c := range map[string]struct {
		end  func(int) error
		want error
	}{
		"Reset": {s.Reset, syscall.ECONNRESET}, "Close": {s.Close, io.EOF},
	} {
		fd, peer := dialSystem(t, "tcp", "127.0.0.1:0")
		if err := c.end(fd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("%s: the peer sees %v, want %v", name, err, c.want)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("%s: the descriptor is open: %v", name, err)
		}
	}
}

// TestLend has a connection go to package net and come back, and both ends work
// all the time.
func TestLend(t *testing.T) {
	s := newTestPoller(t)
	for _, c := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		fd, peer := dialSystem(t, c[0], c[1])
		exchange := func(read func([]byte) (int, error), write func([]byte) (int, error)) {
			t.Helper()
			b := make([]byte, 5)
			if _, err := write([]byte("hello")); err != nil {
				t.Error(c[0], err)
			}
			if _, err := io.ReadFull(peer, b); string(b) != "hello" {
				t.Error(c[0], b, err)
			}
			if _, err := peer.Write([]byte("world")); err != nil {
				t.Error(c[0], err)
			}
			for n := 0; n < len(b); {
				k, err := read(b[n:])
				if err != nil && err != syscall.EAGAIN {
					t.Fatal(c[0], err)
				}
				n += max(k, 0)
			}
			if string(b) != "world" {
				t.Errorf("%s: %q", c[0], b)
			}
		}
		system := func() {
			t.Helper()
			exchange(func(b []byte) (int, error) { return s.Read(fd, b) }, func(b []byte) (int, error) { return s.Write(fd, b) })
		}
		system()
		for range 3 {
			conn, err := s.Lend(fd)
			if err != nil {
				t.Fatal(c[0], err)
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
				t.Errorf("%s: the loop's descriptor is open: %v", c[0], err)
			}
			if c[0] == "tcp" && option(t, conn, unix.SO_KEEPALIVE) == 0 {
				t.Error("keep-alive is off")
			}
			exchange(conn.Read, conn.Write)
			_ = conn.SetReadDeadline(time.Now().Add(-1))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: a read beyond its deadline: %v", c[0], err)
			}
			if fd, err = s.TakeBack(conn); err != nil {
				t.Fatal(c[0], err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: the net.Conn is open: %v", c[0], err)
			}
			if _, err := s.Read(fd, make([]byte, 1)); err != syscall.EAGAIN {
				t.Errorf("%s: a read with nothing there: %v", c[0], err)
			}
			system()
		}
		_ = s.Close(fd)
		if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: a descriptor is left open: %v", c[0], err)
		}
	}
}

func option(t *testing.T, conn net.Conn, opt int) (v int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, opt) })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestLendAfterReset: there is nobody to lend it to.
func TestLendAfterReset(t *testing.T) {
	s := newTestPoller(t)
	fd, peer := dialSystem(t, "tcp", "127.0.0.1:0")
	if addr, ok := s.AppendRemoteAddr([]byte("a"), fd); !ok || string(addr) != "a"+peer.LocalAddr().String() {
		t.Errorf("AppendRemoteAddr: %q, %v", addr, ok)
	}
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	eventually(t, "no address", func() bool {
		addr, ok := s.AppendRemoteAddr([]byte("a"), fd)
		if !ok && string(addr) != "a" {
			t.Errorf("%q was appended", addr)
		}
		return !ok
	})
	if conn, err := s.Lend(fd); conn != nil || err == nil {
		t.Errorf("Lend: %v, %v", conn, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is open: %v", err)
	}
}

// TestTakeBackForeign: what is no stream socket is refused and stays as it was.
func TestTakeBackForeign(t *testing.T) {
	s := newTestPoller(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, conn := range []net.Conn{a, udp.(*net.UDPConn)} {
		if fd, err := s.TakeBack(conn); fd != -1 || err == nil || !strings.Contains(err.Error(), "socket") {
			t.Errorf("%T: %d, %v", conn, fd, err)
		}
		if err := conn.SetDeadline(time.Now()); err != nil {
			t.Errorf("%T: %v", conn, err)
		}
	}
}

func TestRemoteAddrUnix(t *testing.T) {
	s := newTestPoller(t)
	fd, _ := dialSystem(t, "unix", filepath.Join(t.TempDir(), "s"))
	defer s.Close(fd)
	if addr, ok := s.AppendRemoteAddr(nil, fd); string(addr) != "@" || !ok {
		t.Errorf("AppendRemoteAddr: %q, %v; want @", addr, ok)
	}
}

func TestWritev(t *testing.T) {
	s := newTestPoller(t)
	fd, peer := dialSystem(t, "tcp", "127.0.0.1:0")
	defer s.Close(fd)
	if n, err := s.Writev(fd, [][]byte{nil, {}}); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	parts := make([][]byte, 3000) // more than the kernel takes at once
	for i := range parts {
		parts[i] = []byte{byte(i), byte(i >> 8)}[:i%3]
	}
	all := bytes.Join(parts, nil)
	n, err := s.Writev(fd, parts)
	if n <= 0 || err != nil {
		t.Fatal(n, err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(peer, b); !bytes.Equal(b, all[:n]) {
		t.Errorf("other bytes have come: %v", err)
	}
	_ = peer.Close()
	for err == nil { // the second write at the latest is an error, and no signal
		_, err = s.Writev(fd, parts[:10])
	}
	if err != syscall.EPIPE && err != syscall.ECONNRESET && err != syscall.EAGAIN {
		t.Error(err)
	}
}

func TestSystemAllocs(t *testing.T) {
	s := newTestPoller(t)
	fd, peer := dialSystem(t, "tcp", "127.0.0.1:0")
	defer s.Close(fd)
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	parts := [][]byte{{1}, {2}}
	addr := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = s.Writev(fd, parts)
		_, _ = s.AppendRemoteAddr(addr, fd)
		_ = s.Unread(fd) + s.Unsent(fd)
	}); n != 0 && allocatesNothing {
		t.Errorf("%v allocations", n)
	}
}
