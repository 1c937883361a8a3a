package engine

import (
	"runtime"
	"testing"
	"time"
)

// TestGoexitInAllowRequest, as t.Fatal does it: the handshake is refused, and does not
// wait for ever.
func TestGoexitInAllowRequest(t *testing.T) {
	w := newCrowd(t, Config{AllowRequest: func(*Request) error {
		runtime.Goexit()
		return nil
	}})
	p := w.net.Dial(0)
	p.Write([]byte(handshakeRequest))
	var got []int
	if !w.net.RunUntil(5*time.Second, func() bool { got = append(got, w.statuses(p)...); return len(got) > 0 }) || got[0] != 403 {
		t.Errorf("statuses %v, want 403", got)
	}
}
