package netpoll

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAcceptedInheritOptions: no option is set for each connection.
func TestAcceptedInheritOptions(t *testing.T) {
	g := newGroup(Config{}, nil)
	ln, err := listen("tcp", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := newListener(g, ln, listensPlain)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	fd, err := accept(lis.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for option, want := range map[int]int{unix.TCP_NODELAY: 1, unix.TCP_NOTSENT_LOWAT: g.cfg.MaxUnsentBytes} {
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); got != want || err != nil {
			t.Errorf("TCP option %d: %d, %v; want %d", option, got, err, want)
		}
	}
}
