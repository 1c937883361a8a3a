//go:build !linux && !darwin

package netpoll

// systemMemory is the machine's memory in bytes; 0: unknown.
func systemMemory() int64 { return 0 }
