//go:build unix

package netpoll

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestNextLoop deals out past 2^31 and 2^32 connections.
func TestNextLoop(t *testing.T) {
	g := newTestGroup(t, Config{Loops: 3})
	for _, from := range []uint32{0, math.MaxInt32 - 3, math.MaxUint32 - 3} {
		g.next.Store(from)
		seen := map[*Loop]int{}
		for range 9 {
			seen[g.nextLoop()]++
		}
		for _, l := range g.loops {
			if seen[l] < 2 {
				t.Errorf("from %d on, loop %d gets %d of 9 connections", from, l.index, seen[l])
			}
		}
	}
}

// TestUnixSocketFile: a listener removes its own socket's file and no other.
func TestUnixSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	open := func() *Group {
		g, err := New(Config{Loops: 1}, nothing{})
		if err != nil {
			t.Fatal(err)
		}
		if addr, err := g.Listen("unix", path); err != nil || addr.String() != path {
			t.Fatal(addr, err)
		}
		return g
	}
	first := open()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	second := open()
	_ = first.Close(t.Context())
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("the successor's socket is gone: ", err)
	}
	_ = conn.Close()
	_ = second.Close(t.Context())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("its own file is left: %v", err)
	}
	// A file that was removed by somebody else is no fault.
	third := open()
	_ = os.Remove(path)
	if err := third.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
