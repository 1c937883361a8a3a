package sockeye_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestHandlerForms(t *testing.T) {
	contexts := make(chan context.Context, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("plain", func(a, b int) int { return a * b })
		srv.On("none", func() string { return "nothing needed" })
		srv.On("context", func(ctx context.Context, s *sockeye.Socket, x string) string { contexts <- ctx; return x })
		srv.On("only context", func(ctx context.Context) bool { return ctx.Err() == nil })
		srv.On("reader", func(r io.Reader) (int, error) { b, err := io.ReadAll(r); return len(b), err })
		srv.On("list", func(v []map[string]any) int { return len(v) })
		srv.On("rest", func(s *sockeye.Socket, rest ...any) string { return fmt.Sprint(rest) })
	})
	w := wiretest.Connect(t, addr)
	for _, c := range [][2]string{
		{`420["plain",6,7]`, `430[42]`},
		{`421["none"]`, `431["nothing needed"]`},
		{`422["context","x"]`, `432["x"]`},
		{`423["only context"]`, `433[true]`},
		{`424["list",[{},{"a":1}]]`, `434[2]`},
		{`425["rest",1,"a",null]`, `435["[1 a \u003cnil\u003e]"]`},
	} {
		w.Write(c[0])
		if got := w.Expect("43*"); !sameJSON(t, got[3:], c[1][3:]) || got[:3] != c[1][:3] {
			t.Errorf("%s: %s", c[0], got)
		}
	}
	w.Write(`451-6["reader",{"_placeholder":true,"num":0}]`)
	w.WriteBinary(make([]byte, 1000))
	w.Expect(`436[1000]`)
	ctx := within(t, contexts)
	w.Conn.Close()
	within(t, ctx.Done())
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func TestOnceAndOff(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Once("once", func() int { return 1 })
		srv.On("gone", func() int { return 1 })
		srv.On("probe", func() int { return 1 })
		srv.OnUnhandled(func(s *sockeye.Socket, e *sockeye.Event) error { return e.Ack("unhandled", e.Name()) })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`420["once"]`)
	w.Expect(`430[1]`)
	w.Write(`421["once"]`)
	w.Expect(`431["unhandled","once"]`)
	srv.Off("gone")
	w.Write(`422["gone"]`)
	w.Expect(`432["unhandled","gone"]`)

	// A socket's own come first.
	s := srv.Sockets()[0]
	s.On("probe", func() int { return 2 })
	s.Once("extra", func() int { return 3 })
	for _, c := range [][2]string{
		{`423["probe"]`, `433[2]`},
		{`424["extra"]`, `434[3]`},
		{`425["extra"]`, `435["unhandled","extra"]`},
	} {
		w.Write(c[0])
		w.Expect(c[1])
	}
	s.Off("probe")
	w.Write(`426["probe"]`)
	w.Expect(`436[1]`)
	other := wiretest.Connect(t, addr)
	other.Write(`420["extra"]`)
	other.Expect(`430["unhandled","extra"]`)
}

func TestOnUpgrade(t *testing.T) {
	upgraded := make(chan string, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnUpgrade(func(s *sockeye.Socket) { upgraded <- s.Transport() })
	})
	p := wiretest.ConnectPoll(t, addr)
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&sid="+p.SID)
	w.Write("2probe")
	w.Expect("3probe")
	w.Write("5")
	if got := within(t, upgraded); got != "websocket" {
		t.Error(got)
	}
}

// TestHooksAddUp: they are called in order, each registration can be taken away, and
// an event has one handler.
func TestHooksAddUp(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, nil)
	first := srv.OnConnect(func(*sockeye.Socket) error { seen.add("first"); return nil })
	srv.OnConnect(func(*sockeye.Socket) error { seen.add("second"); return nil })
	srv.OnConnection(func(*sockeye.Socket) { seen.add("connection") })
	off := srv.On("event", func() int { return 1 })
	func() {
		defer func() {
			if v, _ := recover().(string); !strings.Contains(v, `On("event"): the event has a handler already`) {
				t.Errorf("a second handler: %v", v)
			}
		}()
		srv.On("event", func() int { return 2 })
	}()
	w := wiretest.Connect(t, addr)
	w.Write(`420["event"]`)
	w.Expect(`430[1]`)
	seen.expect(t, "first", "second", "connection")
	first()
	first()
	off()
	again := srv.On("event", func() int { return 3 })
	off() // it is another's
	w = wiretest.Connect(t, addr)
	w.Write(`420["event"]`)
	w.Expect(`430[3]`)
	seen.expect(t, "second", "connection")
	again()
}

// TestGoexitInHooks: a hook that ends its goroutine keeps nobody from running.
func TestGoexitInHooks(t *testing.T) {
	var seen notes
	ended := make(chan struct{})
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		for i := range 3 {
			srv.OnConnection(func(*sockeye.Socket) { seen.add("connection %d", i); runtime.Goexit() })
			srv.OnDisconnecting(func(*sockeye.Socket, sockeye.Reason) { seen.add("disconnecting %d", i); runtime.Goexit() })
			srv.OnDisconnect(func(*sockeye.Socket, sockeye.Reason) {
				if seen.add("disconnect %d", i); i == 2 {
					defer close(ended)
				}
				runtime.Goexit()
			})
		}
		srv.Of("/no").OnConnect(func(*sockeye.Socket) error { runtime.Goexit(); return nil })
	})
	w := wiretest.Connect(t, addr)
	w.Write("40/no,")
	w.Expect(`44/no,{"message":"internal error"}`)
	_ = w.Conn.Close()
	within(t, ended)
	seen.expect(t, "connection 0", "connection 1", "connection 2", "disconnecting 0", "disconnecting 1", "disconnecting 2",
		"disconnect 0", "disconnect 1", "disconnect 2")
	eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
}
