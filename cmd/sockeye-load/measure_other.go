//go:build !linux

package main

import "runtime"

// maxPending: see measure_linux.go.
const maxPending = 1000

func measure(*options, *progress, <-chan struct{}) (*report, error) {
	return nil, unfit("it is built on epoll and runs on Linux only, not on " + runtime.GOOS + ": run it in a container or a virtual machine")
}

func isTerminal(uintptr) (columns int, ok bool) { return 0, false }
