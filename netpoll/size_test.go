package netpoll

import (
	"testing"
	"unsafe"
)

// TestConnSize: docs/footprint.md tells what an idle connection takes.
func TestConnSize(t *testing.T) {
	if got := unsafe.Sizeof(Conn{}); got > 80 {
		t.Errorf("a Conn takes %d bytes, want 80", got)
	}
}
