// Package seam is where a test takes the place of the kernel, and of the goroutines that
// run handlers.
package seam

import (
	"github.com/sockeye-io/sockeye/internal/lend"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Seams are for package sockeyetest and the simulation, through sockeye.Config. A part
// that is nil is the server's own.
type Seams struct {
	Systems []netpoll.System // the kernels of the loops, one for each: the test turns them
	Pool    lend.Pool        // runs the handlers
}
