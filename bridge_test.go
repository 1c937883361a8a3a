package sockeye_test

import (
	"os"
	"testing"

	"github.com/sockeye-io/sockeye/internal/bridging"
)

// TestMain: with SOCKEYE_BRIDGE set, every server of these tests runs as where loops
// have no queue of the kernel's: on the bridge alone.
func TestMain(m *testing.M) {
	bridging.All.Store(os.Getenv("SOCKEYE_BRIDGE") != "")
	os.Exit(m.Run())
}
