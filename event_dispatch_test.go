package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// unsendable panics when it is encoded.
type unsendable struct{}

func (unsendable) MarshalJSON() ([]byte, error) { panic("password") }

// strange is an error that panics as soon as it is looked at: most are nil pointers.
type strange struct{ inner error }

func (e *strange) Error() string { return "password: " + e.inner.Error() }
func (e *strange) Unwrap() error { return e.inner }

// TestErrorsThatPanic: what a handler returns costs its own event, also when the error itself,
// or its data, cannot be looked at.
func TestErrorsThatPanic(t *testing.T) {
	for _, inline := range []bool{false, true} {
		addr, srv := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
			srv.On("data", func() error { return &sockeye.AckError{Message: "taken", Data: unsendable{}} })
			srv.On("nil", func() error { return (*sockeye.AckError)(nil) })
			srv.On("strange", func() error { return (*strange)(nil) })
			srv.On("result", func() any { return unsendable{} })
			srv.On("well", func() int { return 1 })
		})
		w := wiretest.Connect(t, addr)
		for i, c := range [][2]string{
			{"data", `{"error":"taken"}`},
			{"nil", `{"error":"internal error"}`},
			{"strange", `{"error":"internal error"}`},
			{"result", `{"error":"internal error"}`},
			{"well", "1"},
		} {
			w.Write(fmt.Sprintf(`42%d["%s"]`, i, c[0]))
			w.Expect(fmt.Sprintf(`43%d[%s]`, i, c[1]))
		}
		if s := srv.Stats(); s.HandlerPanics < 3 || s.Net.CallbackPanics > 0 {
			t.Errorf("%d panics of handlers, %d that reached a loop", s.HandlerPanics, s.Net.CallbackPanics)
		}
	}
}

// TestQuestionsAreAnswered, whatever becomes of their handlers, with nothing that is
// not for strangers.
func TestQuestionsAreAnswered(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("panic", func() { panic("password") })
		srv.On("fail", func() error { return errors.New("password") })
		srv.On("public", func() error {
			return fmt.Errorf("password: %w", &sockeye.AckError{Message: "taken", Data: map[string]int{"by": 7}})
		})
		srv.On("unsendable", func() error { return &sockeye.AckError{Message: "taken", Data: make(chan int)} })
		srv.On("result", func() any { return make(chan int) })
		srv.On("raw", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(make(chan int)) })
		srv.On("exit", func() { runtime.Goexit() })
		srv.On("need", func(string) {})
		srv.On("pointer", func(p *int) bool { return p == nil })
		srv.On("later", func(_ *sockeye.Socket, e *sockeye.Event) error {
			answer := e.AckLater()
			go func() { _ = answer(1); _ = answer(2) }()
			return nil
		})
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
			if e.Name() == "filtered" {
				panic("password")
			}
			return next(ctx)
		})
	})
	w := wiretest.Connect(t, addr)
	const internal = `43%d[{"error":"internal error"}]`
	for i, c := range [][2]string{
		{`["panic"]`, internal},
		{`["fail"]`, internal},
		{`["public"]`, `43%d[{"data":{"by":7},"error":"taken"}]`},
		{`["unsendable"]`, `43%d[{"error":"taken"}]`},
		{`["result"]`, internal},
		{`["raw"]`, internal},
		{`["exit"]`, internal},
		{`["need"]`, `43%d[{"error":"argument 0 is missing"}]`},
		{`["need",7]`, `43%d[{"error":"argument 0 does not fit"}]`},
		{`["pointer"]`, `43%d[true]`},
		{`["later"]`, `43%d[1]`},
		{`["filtered"]`, internal},
	} {
		w.Write(fmt.Sprintf("42%d%s", i, c[0]))
		w.Expect(fmt.Sprintf(c[1], i))
	}
	if s := srv.Stats(); s.HandlerPanics != 2 || s.HandlerErrors != 7 || s.DecodeErrors != 2 {
		t.Errorf("%d panics, %d errors, %d of decoding", s.HandlerPanics, s.HandlerErrors, s.DecodeErrors)
	}
}
