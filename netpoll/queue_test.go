//go:build unix

package netpoll

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// told runs the queue for at least one whole batch and returns what it says of
// fd.
func told(t *testing.T, s *poller, fd int) (any, writable, hangup bool) {
	t.Helper()
	s.Wake()
	turns := 0
	err := s.events.run(func(got int, w, h bool) (stop bool) {
		if got == fd {
			any, writable, hangup = true, writable || w, hangup || h
			return false
		}
		if !s.wake.is(got) {
			t.Errorf("an event of descriptor %d", got)
			return true
		}
		s.wake.drain()
		turns++
		s.Wake()
		return turns == 3
	})
	if err != nil {
		t.Fatal(err)
	}
	return any, writable, hangup
}

// TestWatchExact takes a connection from each interest to each other: what is
// wanted is told and nothing else, in whatever state it has been before.
func TestWatchExact(t *testing.T) {
	for _, from := range []Interest{0, WatchRead, WatchWrite, WatchRead | WatchWrite} {
		for _, to := range []Interest{0, WatchRead, WatchWrite, WatchRead | WatchWrite} {
			t.Run(fmt.Sprint(from, "-", to), func(t *testing.T) {
				s := newTestPoller(t)
				p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					t.Fatal(err)
				}
				fd, peer := p[0], p[1]
				defer unix.Close(peer)
				defer unix.Close(fd)
				_ = unix.SetNonblock(fd, true)
				if _, err := unix.Write(peer, []byte{1}); err != nil { // fd is readable
					t.Fatal(err)
				}
				for _, step := range [][2]Interest{{0, from}, {from, to}} {
					if err := s.Watch(fd, step[0], step[1]); err != nil {
						t.Fatal(err)
					}
				}
				if some, w, _ := told(t, s, fd); some != (to != 0) || w != (to&WatchWrite != 0) {
					t.Errorf("readable and writable: told %v, writable %v", some, w)
				}
				for err == nil {
					_, err = unix.Write(fd, make([]byte, 64<<10))
				}
				if some, w, _ := told(t, s, fd); some != (to&WatchRead != 0) || w {
					t.Errorf("readable only: told %v, writable %v", some, w)
				}
				if err := s.Watch(fd, to, 0); err != nil {
					t.Fatal(err)
				}
				// As MoveTo does: another loop takes it over.
				other := newTestPoller(t)
				if err := other.Watch(fd, 0, WatchRead); err != nil {
					t.Fatal(err)
				}
				if some, _, _ := told(t, s, fd); some {
					t.Error("the loop that has given it up is told")
				}
				if some, _, _ := told(t, other, fd); !some {
					t.Error("the loop that has taken it over is not told")
				}
			})
		}
	}
}

// TestWatchHangup: the end of the peer's stream is no hangup, its going is.
func TestWatchHangup(t *testing.T) {
	s := newTestPoller(t)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	if err := s.Watch(p[0], 0, WatchRead); err != nil {
		t.Fatal(err)
	}
	_ = unix.Shutdown(p[1], unix.SHUT_WR)
	if some, _, hangup := told(t, s, p[0]); !some || hangup {
		t.Errorf("half-closed: told %v, hangup %v", some, hangup)
	}
	if err := s.Watch(p[0], WatchRead, WatchWrite); err != nil {
		t.Fatal(err)
	}
	if _, writable, hangup := told(t, s, p[0]); !writable || hangup {
		t.Errorf("half-closed, to be written: writable %v, hangup %v", writable, hangup)
	}
	_ = unix.Close(p[1])
	if _, _, hangup := told(t, s, p[0]); !hangup {
		t.Error("gone, and no hangup is told")
	}
}
