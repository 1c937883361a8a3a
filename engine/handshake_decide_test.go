package engine

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// TestMiddlewareSeesRefusal: what is around AllowRequest, as a tracer or a log of
// requests, is told that it refuses.
func TestMiddlewareSeesRefusal(t *testing.T) {
	seen := make(chan int, 1)
	w := newCrowd(t, Config{
		AllowRequest: func(*Request) error { return errors.New("not today") },
		Middleware: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				seen <- rec.Code
			})
		},
	})
	p := w.net.Dial(0)
	p.Write([]byte(handshakeRequest))
	var got []int
	if !w.net.RunUntil(5*time.Second, func() bool { got = append(got, w.statuses(p)...); return len(got) > 0 }) || got[0] != 403 {
		t.Errorf("statuses %v, want 403", got)
	}
	if code := <-seen; code != 403 {
		t.Errorf("the middleware has seen %d", code)
	}
}

// badError panics when it is read, as a nil pointer's method does.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

// TestErrorOfAllowRequestPanics: the handshake is refused, and does not wait for ever.
func TestErrorOfAllowRequestPanics(t *testing.T) {
	for name, err := range map[string]error{"itself": (*badError)(nil), "wrapped": fmt.Errorf("%w", error((*badError)(nil)))} {
		w := newCrowd(t, Config{AllowRequest: func(*Request) error { return err }})
		p := w.net.Dial(0)
		p.Write([]byte(handshakeRequest))
		var got []int
		if !w.net.RunUntil(5*time.Second, func() bool { got = append(got, w.statuses(p)...); return len(got) > 0 }) || got[0] != 403 {
			t.Errorf("%s: statuses %v, want 403", name, got)
		}
	}
}
