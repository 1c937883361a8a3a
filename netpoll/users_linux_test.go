package netpoll

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// strangers opens descriptors that get the numbers of those just closed, and
// returns a function that reports what has been written to them.
func strangers(t *testing.T) (check func()) {
	t.Helper()
	var fds []int
	for range 4 {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, p[0], p[1])
	}
	return func() {
		t.Helper()
		for _, fd := range fds {
			var b [16]byte
			if n, _ := unix.Read(fd, b[:]); n > 0 {
				t.Errorf("a stranger's descriptor received % x", b[:n])
			}
		}
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
}

func TestWakeAfterClose(t *testing.T) {
	g, err := New(Config{Loops: 1}, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := strangers(t)
	g.Loop(0).Wake()
	g.Loop(0).sys.Wake()
	check()
}

// TestPostDuringClose has goroutines wake a loop while it ends.
func TestPostDuringClose(t *testing.T) {
	for range 60 {
		g, err := New(Config{Loops: 1}, nothing{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for g.Loop(0).PostNow(func(any, any) {}, nil, nil, 0) {
					g.Loop(0).sys.Wake()
				}
			})
		}
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		check := strangers(t)
		wg.Wait()
		check()
	}
}

// TestUsers has users come and go while the door is shut: none is inside after
// that.
func TestUsers(t *testing.T) {
	for range 200 {
		var u users
		var open atomic.Bool
		open.Store(true)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for u.enter() {
					if !open.Load() {
						t.Error("a user is inside after shut")
					}
					u.exit()
				}
			})
		}
		u.shut()
		open.Store(false)
		wg.Wait()
		if u.enter() {
			t.Fatal("a user came in after shut")
		}
	}
}
