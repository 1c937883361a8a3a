//go:build !unix

package sockeye

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
