package sockeye_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// notes is what handlers have noted, in order.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) get() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func() bool { return len(n.get()) >= len(want) })
	if got := n.get(); !slices.Equal(got, want) {
		t.Errorf("noted %q, want %q", got, want)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = nil
}

func TestWatchersAndEventMiddleware(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnAny(func(s *sockeye.Socket, e *sockeye.Event) { seen.add("any %s %d", e.Name(), e.Len()) })
		srv.OnAnyOutgoing(func(s *sockeye.Socket, event string, args []any) { seen.add("out %v %s %v", s != nil, event, args) })
		srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next func(context.Context) error) error {
			seen.add("first")
			return next(ctx)
		})
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
			if e.Name() == "secret" {
				return &sockeye.AckError{Message: "not for you"}
			}
			return next(ctx)
		})
		srv.On("secret", func() { t.Error("the middleware was passed") })
		srv.On("open", func(s *sockeye.Socket) int { _ = s.Emit("own", 1); return 1 })
		srv.OnError(func(s *sockeye.Socket, event string, err error) { seen.add("error %s %v", event, err) })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`420["secret","x"]`)
	w.Expect(`430[{"error":"not for you"}]`)
	seen.expect(t, "any secret 1", "first", "error secret not for you")
	w.Write(`421["open"]`)
	w.Expect(`42["own",1]`)
	w.Expect(`431[1]`)
	_ = srv.Emit("all", 2)
	w.Expect(`42["all",2]`)
	seen.expect(t, "any open 0", "first", "out true own [1]", "out false all [2]")
}
