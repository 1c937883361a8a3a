//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sockeyetest_test

import (
	"testing"

	"github.com/sockeye-io/sockeye"
)

// TestOtherSystems: where loops have no queue, a server says so; the tests beside
// this one run.
func TestOtherSystems(t *testing.T) {
	const want = "sockeye: netpoll: not supported: loops need epoll or kqueue"
	if _, err := sockeye.New(sockeye.Config{}); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
