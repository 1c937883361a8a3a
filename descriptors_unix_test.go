//go:build unix

package sockeye_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestOutOfDescriptors runs a server in a child process whose descriptors run
// out: those that live are served, and accepting resumes.
func TestOutOfDescriptors(t *testing.T) {
	if os.Getenv("SOCKEYE_FEW_FDS") != "" {
		serveWithFewDescriptors(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestOutOfDescriptors$")
	cmd.Env = append(os.Environ(), "SOCKEYE_FEW_FDS=1")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child says nothing")
	}
	addr := lines.Text()
	stillServed := bystander(t, addr)
	var conns []net.Conn
	for range 100 { // more than the child has descriptors; the kernel takes them all
		conns = append(conns, wiretest.Dial(t, addr))
	}
	stillServed()
	time.Sleep(30 * time.Millisecond) // it backs off, and must not spin or end
	stillServed()
	for _, c := range conns {
		_ = c.Close()
	}
	for range 5 {
		bystander(t, addr)()
	}
	stillServed()
	_ = in.Close()
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "accept errors ") || lines.Text() == "accept errors 0" {
		t.Errorf("the child says %q", lines.Text())
	}
}

func serveWithFewDescriptors(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{MaxConns: 1 << 20, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	reference(srv)
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: 60, Max: 60}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Println(addr)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
	fmt.Println("accept errors", srv.Stats().Net.AcceptErrors)
	os.Exit(0)
}
