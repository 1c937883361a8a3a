package sockeyetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// newChat is an application under test.
func newChat(t *testing.T) *sockeyetest.Server {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.Use(func(s *sockeye.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token == "bad" {
			return &sockeye.ConnectError{Message: "not authorized", Data: map[string]any{"code": 401}}
		}
		return nil
	})
	srv.OnConnect(func(s *sockeye.Socket) error {
		h := s.Handshake()
		return s.Emit("hello", h.Query.Get("q"), h.Headers.Get("X-Test"))
	})
	srv.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	srv.On("say", func(s *sockeye.Socket, room string, what any) error { return s.To(room).Emit("said", what) })
	srv.On("sum", func(a, b int) int { return a + b })
	srv.On("reverse", func(b []byte) []byte { slices.Reverse(b); return b })
	srv.On("ask", func(s *sockeye.Socket) error {
		return s.EmitWithAck(func(answer sockeye.Args, err error) {
			var text string
			if err == nil {
				err = answer.Decode(&text)
			}
			_ = s.Emit("answered", text, fmt.Sprint(err))
		}, "question", 1)
	})
	srv.On("kick", func(s *sockeye.Socket) { s.CloseSession() })
	return srv
}

func TestClient(t *testing.T) {
	srv := newChat(t)
	a := srv.Connect(t, sockeyetest.Options{Query: url.Values{"q": {"1 2"}}, Header: http.Header{"X-Test": {"yes"}}})
	b := srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"token": "good"}})
	if got := a.Received(); !reflect.DeepEqual(got, []sockeyetest.Event{{Name: "hello", Namespace: "/", Args: []any{"1 2", "yes"}}}) {
		t.Errorf("%+v", got)
	}
	b.Received()
	a.Emit("join", "red")
	if got := a.Rooms(); !slices.Equal(got, []string{"red"}) {
		t.Errorf("rooms %q", got)
	}
	b.Emit("say", "red", map[string]any{"deep": []any{[]byte{1, 2}}})
	want := []sockeyetest.Event{{Name: "said", Namespace: "/", Args: []any{map[string]any{"deep": []any{[]byte{1, 2}}}}}}
	if got := a.Received(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := b.Received(); len(got) != 0 {
		t.Errorf("b got %+v", got)
	}
	if got := a.Call("sum", 2, 3); !reflect.DeepEqual(got, []any{5.0}) {
		t.Errorf("%v", got)
	}
	if got := a.Call("reverse", []byte{1, 2, 3}); !reflect.DeepEqual(got, []any{[]byte{3, 2, 1}}) {
		t.Errorf("%v", got)
	}
	a.Answer(func(e sockeyetest.Event) []any { return []any{fmt.Sprint(e.Name, e.Args)} })
	a.Emit("ask")
	a.Received()
	if got := a.Received(); len(got) != 1 || !reflect.DeepEqual(got[0].Args, []any{"question[1]", "<nil>"}) {
		t.Errorf("%+v", got)
	}
	a.Emit("kick")
	if a.Connected() || a.Socket() != nil || !b.Connected() {
		t.Error("a is there, or b is not")
	}
	b.Disconnect()
	if srv.Len() != 0 {
		t.Error("b is there")
	}
}

func TestRefused(t *testing.T) {
	srv := newChat(t)
	_, err := srv.Dial(t, sockeyetest.Options{Auth: map[string]string{"token": "bad"}})
	var refusal *sockeye.ConnectError
	if !errors.Is(err, sockeyetest.ErrRefused) || !errors.As(err, &refusal) || refusal.Message != "not authorized" {
		t.Errorf("%v", err)
	}
	if _, err := srv.Dial(t, sockeyetest.Options{Namespace: "/none"}); !errors.As(err, &refusal) || refusal.Message != "Invalid namespace" {
		t.Errorf("%v", err)
	}
	closed := sockeyetest.NewServer(t, sockeye.Config{AllowRequest: func(*engine.Request) error { return errors.New("no") }})
	if _, err := closed.Dial(t, sockeyetest.Options{}); err == nil {
		t.Error("connected")
	}
}

// The clock is the test's: an hour takes no time, and no connection.
func TestAdvance(t *testing.T) {
	srv := newChat(t)
	var reasons []sockeye.Reason
	srv.OnDisconnect(func(_ *sockeye.Socket, r sockeye.Reason) { reasons = append(reasons, r) })
	c := srv.Connect(t, sockeyetest.Options{})
	c.Received()
	srv.Advance(time.Hour)
	if !c.Connected() {
		t.Fatal("not connected after an hour of heartbeats")
	}
	c.Emit("ask") // nobody answers
	srv.Advance(time.Minute)
	got := c.Received()
	if len(got) != 2 || got[1].Args[1] != sockeye.ErrAckTimeout.Error() {
		t.Errorf("%+v", got)
	}
	c.Break()
	srv.Settle()
	if len(reasons) != 1 {
		t.Errorf("%q", reasons)
	}
}

// TestSlowDecision: the handshake is waited for while the application decides.
func TestSlowDecision(t *testing.T) {
	decided := false
	srv := sockeyetest.NewServer(t, sockeye.Config{AllowRequest: func(*sockeye.Request) error {
		time.Sleep(50 * time.Millisecond) // as a look-up in a database
		decided = true
		return nil
	}})
	if srv.Connect(t, sockeyetest.Options{}); !decided {
		t.Error("connected undecided")
	}
}

// failing is a test that has failed, and does not tell.
type failing struct {
	testing.TB
	said []string
}

func (f *failing) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

// TestUndeclaredEmitFails: an emit that is not as declared fails the test, unless the
// configuration says what is to happen.
func TestUndeclaredEmitFails(t *testing.T) {
	f := &failing{TB: t}
	srv := sockeyetest.NewServer(f, sockeye.Config{})
	sockeye.Emits[string](srv, "say")
	_ = srv.Emit("say", "text")
	if len(f.said) > 0 {
		t.Errorf("%q", f.said)
	}
	_ = srv.Emit("say", 1)
	if len(f.said) != 1 || !strings.Contains(f.said[0], "a string is declared") {
		t.Errorf("%q", f.said)
	}
	srv = sockeyetest.NewServer(f, sockeye.Config{OnContractError: func(*sockeye.ContractError) {}})
	sockeye.Emits[string](srv, "say")
	if _ = srv.Emit("say", 1); len(f.said) != 1 {
		t.Errorf("%q", f.said)
	}
}

// TestAnswerWhileAnotherCalls: the handler of one client's call asks another client.
func TestAnswerWhileAnotherCalls(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.On("ask all", func(ctx context.Context, s *sockeye.Socket, question string) (int, error) {
		answers, err := s.Broadcast().Call(ctx, question, []byte{1})
		return len(answers), err
	})
	asks := srv.Connect(t, sockeyetest.Options{})
	var asked []string
	for range 2 {
		c := srv.Connect(t, sockeyetest.Options{})
		c.Answer(func(e sockeyetest.Event) []any {
			asked = append(asked, fmt.Sprint(e.Name, e.Args))
			return []any{"yes"}
		})
		defer func() {
			if got := fmt.Sprint(c.Received()); got != "[{there? / [[1]]} {again? / [[1]]}]" {
				t.Errorf("it has received %s", got)
			}
		}()
	}
	for i, question := range []string{"there?", "again?"} {
		begin := time.Now()
		if got := fmt.Sprint(asks.Call("ask all", question)); got != "[2]" || len(asked) != 2*i+2 {
			t.Errorf("%s: %s, %v", question, got, asked)
		}
		if d := time.Since(begin); d > sockeyetest.Patience/2 {
			t.Errorf("it took %v", d)
		}
	}
}
