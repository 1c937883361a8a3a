//go:build !unix

package sockeye

import (
	"runtime"
	"time"
)

// cpuTime is that of this process, at most: what is known is what has passed.
func cpuTime() time.Duration { return time.Since(started) * time.Duration(processors) }

var processors = runtime.GOMAXPROCS(0)
