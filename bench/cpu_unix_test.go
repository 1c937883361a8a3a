//go:build unix

package bench

import (
	"syscall"
	"time"
)

// cpu is the CPU time of this process, server and clients together.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
