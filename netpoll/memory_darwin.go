package netpoll

import "golang.org/x/sys/unix"

// systemMemory is the machine's memory in bytes; 0: unknown.
func systemMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil || int64(n) < 0 {
		return 0
	}
	return int64(n)
}
