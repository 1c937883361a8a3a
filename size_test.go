package sockeye

import (
	"testing"
	"unsafe"

	"github.com/sockeye-io/sockeye/broadcast"
)

// TestSizes: docs/footprint.md tells what an idle socket takes.
func TestSizes(t *testing.T) {
	for name, c := range map[string]struct{ got, want uintptr }{
		"Socket": {unsafe.Sizeof(Socket{}), 160},
		"Member": {unsafe.Sizeof(broadcast.Member{}), 80},
		"link":   {unsafe.Sizeof(link{}), 48},
	} {
		if c.got > c.want {
			t.Errorf("a %s takes %d bytes, want %d", name, c.got, c.want)
		}
	}
}
