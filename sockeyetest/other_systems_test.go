//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sockeyetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// TestOtherSystems: where loops have no queue of the kernel's, every connection is
// bridged.
func TestOtherSystems(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv.On("echo", func(s *sockeye.Socket, v string) string { return v })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "http://"+addr.String(), client.Config{Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Call(ctx, "echo", "hello")
	var got string
	if err != nil || answer.Decode(&got) != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if n := srv.Stats().Net.Bridged; n != 1 {
		t.Errorf("%d are bridged", n)
	}
	_ = c.Close()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
