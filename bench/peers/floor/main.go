//go:build linux

// Command floor tells what the kernel alone charges for a broadcast on
// loopback: one process writes the same bytes to each of n sockets in turn, on
// one core; another, on a second core, reads them all. Nothing is parsed,
// framed or looked up, so no server of one process can spend less on a
// delivered message when that many messages share a write.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	n := flag.Int("n", 1000, "connections")
	size := flag.Int("bytes", 120, "`bytes` of a message with its frame")
	coalesce := flag.Int("coalesce", 1, "messages in a write")
	dur := flag.Duration("dur", 3*time.Second, "measured time")
	core := flag.Int("core", 0, "core of the writer")
	readerCore := flag.Int("reader-core", 1, "core of the reader")
	reader := flag.Int("reader", 0, "internal: be the reader of the writer on this port")
	flag.Parse()
	runtime.LockOSThread()
	var err error
	if *reader > 0 {
		err = read(*reader, *n, *readerCore)
	} else {
		err = write(*n, *size, *coalesce, *core, *readerCore, *dur)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// write accepts the reader's connections, writes to them, and prints its CPU time.
func write(n, size, coalesce, core, readerCore int, dur time.Duration) error {
	ln, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	addr := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(syscall.Bind(ln, addr), syscall.Listen(ln, 4096)); err != nil {
		return err
	}
	bound, err := syscall.Getsockname(ln)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	port := strconv.Itoa(bound.(*syscall.SockaddrInet4).Port)
	child := exec.Command(self, "-reader", port, "-n", strconv.Itoa(n), "-reader-core", strconv.Itoa(readerCore))
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return err
	}
	defer child.Process.Kill()
	go func() { // it never ends by itself, but accept would wait for it
		_ = child.Wait()
		os.Exit(1)
	}()
	if err := pin(core); err != nil {
		return err
	}
	fds := make([]int, n)
	for i := range fds {
		if fds[i], _, err = syscall.Accept4(ln, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC); err != nil {
			return err
		}
		_ = syscall.SetsockoptInt(fds[i], syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}

	message := make([]byte, size*coalesce)
	sent, short := 0, 0
	cpu, begin := cpuTime(), time.Now()
	for time.Since(begin) < dur {
		for _, fd := range fds {
			if call(syscall.SYS_WRITE, fd, message) == len(message) {
				sent++
			} else {
				short++
			}
		}
	}
	elapsed, spent := time.Since(begin).Seconds(), (cpuTime()-cpu).Seconds()*1e6
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"n": n, "bytes": size, "coalesce": coalesce, "short": short,
		"messages_per_s":     float64(sent*coalesce) / elapsed,
		"cpu_us_per_send":    spent / float64(max(1, sent)),
		"cpu_us_per_message": spent / float64(max(1, sent*coalesce)),
	})
}

// ipBindAddressNoPort leaves the choice of a port to connect, which needs only
// the pair of addresses to be new.
const ipBindAddressNoPort = 24

// read connects n times and reads until it is killed.
func read(port, n, core int) error {
	if err := pin(core); err != nil {
		return err
	}
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for i := range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// Other source addresses, for an address has few ports.
		source := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + i/10000)}}
		server := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if err := errors.Join(
			syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1),
			syscall.Bind(fd, source), syscall.Connect(fd, server), syscall.SetNonblock(fd, true),
			syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &ev),
		); err != nil {
			return err
		}
	}
	events, buf := make([]syscall.EpollEvent, 1024), make([]byte, 1<<18)
	for {
		k, err := syscall.EpollWait(ep, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, ev := range events[:max(0, k)] {
			if call(syscall.SYS_READ, int(ev.Fd), buf) == 0 {
				return net.ErrClosed
			}
		}
	}
}

// call is read or write without the scheduler's bookkeeping: nothing blocks.
func call(nr uintptr, fd int, b []byte) int {
	n, _, e := syscall.RawSyscall(nr, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return -1
	}
	return int(n)
}

// pin binds this thread, which does all the work, to a core.
func pin(core int) error {
	var set [16]uint64
	set[core/64] = 1 << (core % 64)
	_, _, e := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if e != 0 {
		return os.NewSyscallError("sched_setaffinity", e)
	}
	return nil
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
