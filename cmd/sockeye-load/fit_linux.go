package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// spare are descriptors for everything but connections.
const spare = 32

// fit tells whether this machine has what the connections take, and returns where each
// comes from.
func fit(o *options, server netip.AddrPort) (func(id int) netip.Addr, error) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		if err := fitDescriptors(o, limit.Cur, limit.Max); err != nil {
			return nil, err
		}
	}
	first, last := portRange()
	return sources(o, server, last-first+1)
}

// sockets is how many the connections have, at most.
func (o *options) sockets() int {
	if o.polling {
		return 2 * o.most()
	}
	return o.most()
}

func fitDescriptors(o *options, has, hard uint64) error {
	need := uint64(o.sockets() + spare)
	if o.tls != nil { // a handshake has one more
		need += uint64(min(o.connecting, o.most()))
	}
	if need <= has {
		return nil
	}
	what := "connections"
	if o.polling {
		what = "connections, with two sockets each over long-polling,"
	}
	advice := fmt.Sprintf("raise it (ulimit -n %d; LimitNOFILE= in a unit of systemd; --ulimit nofile=%[1]d in Docker)", need)
	if need <= hard {
		advice = fmt.Sprintf("ulimit -n %d raises it", need)
	}
	return unfit(fmt.Sprintf("%s %s need %s descriptors, and this process may have %s: %s, take fewer connections, or start the tool several times",
		grouped(o.most()), what, grouped(int64(need)), grouped(int64(has)), advice))
}

// portRange is net.ipv4.ip_local_port_range.
func portRange() (first, last int) {
	first, last = 32768, 60999
	b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if f := strings.Fields(string(b)); len(f) == 2 {
		a, err := strconv.Atoi(f[0])
		b, err2 := strconv.Atoi(f[1])
		if err == nil && err2 == nil && a <= b {
			first, last = a, b
		}
	}
	return first, last
}

// loopbackEach is how many connections come from one loopback address.
const loopbackEach = 10000

// sources is where each connection comes from. An address has so many ports for one server.
func sources(o *options, server netip.AddrPort, ports int) (func(id int) netip.Addr, error) {
	from := o.sources
	need := o.sockets()
	if len(from) == 0 && need > loopbackEach && server.Addr().Is4() && server.Addr().IsLoopback() {
		for i := range need/loopbackEach + 1 { // all of 127.0.0.0/8 is ours
			from = append(from, netip.AddrFrom4([4]byte{127, 0, byte(1 + i/250), byte(2 + i%250)}))
		}
	}
	if room := ports * max(1, len(from)); need > room {
		return nil, unfit(fmt.Sprintf("%s sockets to one server need as many ports, and %d source address(es) have %s together "+
			"(sysctl net.ipv4.ip_local_port_range): give more addresses by -source, or take fewer connections",
			grouped(need), max(1, len(from)), grouped(room)))
	}
	if len(from) == 0 {
		return nil, nil
	}
	return func(id int) netip.Addr { return from[id%len(from)] }, nil
}

// isTerminal tells whether a descriptor is one, and how wide.
func isTerminal(fd uintptr) (columns int, ok bool) {
	var size struct{ rows, columns, x, y uint16 }
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	return int(size.columns), e == 0
}
