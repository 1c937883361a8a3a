package engine

import (
	"testing"
	"unsafe"
)

// TestSessionSize: docs/footprint.md tells what an idle session takes.
func TestSessionSize(t *testing.T) {
	if got := unsafe.Sizeof(Session{}); got > 144 {
		t.Errorf("a Session takes %d bytes, want 144", got)
	}
	if got := unsafe.Sizeof(polling{}); got > 120 {
		t.Errorf("what a polling session needs takes %d bytes, want 120", got)
	}
}
