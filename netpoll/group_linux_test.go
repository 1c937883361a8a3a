package netpoll_test

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockeye-io/sockeye/netpoll"
)

// TestNewWithoutDescriptors: a group whose pollers cannot all be opened is none, and
// leaves no descriptor behind. The limit is the process's: it is set in one of its own.
func TestNewWithoutDescriptors(t *testing.T) {
	if os.Getenv("SOCKEYE_NO_DESCRIPTORS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNewWithoutDescriptors$", "-test.v")
		cmd.Env = append(os.Environ(), "SOCKEYE_NO_DESCRIPTORS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	g, err := netpoll.New(netpoll.Config{Loops: 1}, &app{}) // opens what the runtime keeps
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := open()
	for room := range uint64(20) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(before) - 1 + room, Max: 4096}); err != nil {
			t.Skip(err)
		}
		g, err := netpoll.New(netpoll.Config{Loops: 8, MaxConns: 100}, &app{})
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096})
		if err == nil {
			t.Errorf("with room for %d descriptors, eight loops could be opened", room)
			if err := g.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := open(); n != before {
			t.Fatalf("with room for %d: %d descriptors are open, %d were before: %v", room, n, before, err)
		}
	}
}
