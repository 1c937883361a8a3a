//go:build dragonfly || openbsd

package netpoll

// Unsent is unknown: these kernels do not tell.
func (s *poller) Unsent(int) int { return 0 }
