package sockeye_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

type said struct {
	From string   `json:"from"`
	Tags []string `json:"tags"`
	Old  []string `json:"old,omitempty"`
	Next *said    `json:"next"`
}

// TestSignatures: what handlers, Emits and Accepts tell of events.
func TestSignatures(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.On("a typed one", func(ctx context.Context, s *sockeye.Socket, n int, rest ...string) (bool, error) { return false, nil })
	srv.On("a direct one", func(s *sockeye.Socket, text string) string { return "" })
	srv.On("raw", func(*sockeye.Socket, *sockeye.Event) error { return nil })
	srv.On("raw and declared", func(*sockeye.Socket, *sockeye.Event) error { return nil })
	sockeye.Accepts[func(string) (int, error)](srv, "raw and declared")
	srv.On("twice", func(int) {})
	sockeye.Accepts[string](srv, "twice")
	sockeye.Accepts[func(io.Reader)](srv, "of one socket")
	sockeye.Emits[said](srv, "say")
	sockeye.Emits[func(q string) (a, b int)](srv, "ask")
	sockeye.Emits[func() error](srv, "there?")
	sockeye.Emits[int](srv, "gone")()
	srv.On("gone", func() {})()
	parent := srv.OfPattern(regexp.MustCompile(`/g-\d+`))
	sockeye.Emits[int](parent, "n")
	var got []string
	for _, sig := range srv.Signatures() {
		got = append(got, fmt.Sprintf("%+v", sig))
	}
	want := `{Event:ask Sent:true Args:[string] Variadic:false Results:[int int] Fails:false Asks:true Untyped:false Twice:false}
{Event:say Sent:true Args:[sockeye_test.said] Variadic:false Results:[] Fails:false Asks:false Untyped:false Twice:false}
{Event:there? Sent:true Args:[] Variadic:false Results:[] Fails:false Asks:true Untyped:false Twice:false}
{Event:a direct one Sent:false Args:[string] Variadic:false Results:[string] Fails:false Asks:false Untyped:false Twice:false}
{Event:a typed one Sent:false Args:[int []string] Variadic:true Results:[bool] Fails:true Asks:false Untyped:false Twice:false}
{Event:of one socket Sent:false Args:[io.Reader] Variadic:false Results:[] Fails:false Asks:false Untyped:false Twice:false}
{Event:raw Sent:false Args:[] Variadic:false Results:[] Fails:false Asks:false Untyped:true Twice:false}
{Event:raw and declared Sent:false Args:[string] Variadic:false Results:[int] Fails:true Asks:false Untyped:false Twice:false}
{Event:twice Sent:false Args:[string] Variadic:false Results:[] Fails:false Asks:false Untyped:false Twice:true}`
	if strings.Join(got, "\n") != want {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if p := srv.Parents(); len(p) != 1 || p[0] != parent || parent.Pattern() != `/g-\d+` || len(srv.Of("/g-1").Signatures()) != 1 {
		t.Errorf("%v, %q, %v", p, parent.Pattern(), srv.Of("/g-1").Signatures())
	}
}

// TestDeclarationsThatCannotWork are refused at once.
func TestDeclarationsThatCannotWork(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	sockeye.Emits[int](srv, "n")
	sockeye.Accepts[int](srv, "n")
	sockeye.Emits[int](srv, "connection")
	for want, f := range map[string]func(){
		"chan int":              func() { sockeye.Emits[chan int](srv, "x") },
		"field C":               func() { sockeye.Emits[func(struct{ C func() })](srv, "x") },
		"a fmt.Stringer":        func() { sockeye.Emits[func() fmt.Stringer](srv, "x") },
		"take any":              func() { sockeye.Accepts[error](srv, "x") },
		"is the protocol's own": func() { sockeye.Emits[int](srv, "connect") },
		"see OnConnect":         func() { sockeye.Accepts[int](srv, "connection") },
		"has no name":           func() { sockeye.Emits[int](srv, "") },
		"been declared already": func() { sockeye.Emits[int](srv, "n") },
		"declared already":      func() { sockeye.Accepts[int](srv, "n") },
	} {
		if got := panics(f); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// faults are those that a server tells of.
type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) add(err *sockeye.ContractError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, err.Error())
}

// took takes what was told.
func (f *faults) took() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.list, "\n")
	f.list = nil
	return s
}

// TestEmitsAreCompared with what is declared, and sent in any case.
func TestEmitsAreCompared(t *testing.T) {
	var told faults
	srv := sockeyetest.NewServer(t, sockeye.Config{OnContractError: told.add})
	c := srv.Connect(t, sockeyetest.Options{})
	if srv.Emit("anything"); told.took() != "" {
		t.Error("where nothing is declared, nothing is a fault")
	}
	sockeye.Emits[said](srv, "say")
	sockeye.Emits[func(text string, n float64, p *int, rest ...bool)](srv, "many")
	sockeye.Emits[[]byte](srv, "binary")
	sockeye.Emits[any](srv, "any")
	sockeye.Emits[map[string]int](srv, "map")
	sent := 1
	whole := said{Tags: []string{}}
	for _, c := range []struct {
		want  string // "" for none
		event string
		args  []any
	}{
		{"", "say", []any{whole}},
		{"", "say", []any{&whole}},
		{"", "say", []any{map[string]any{"from": "", "tags": []string{"x"}, "next": nil}}},
		{"", "say", []any{json.RawMessage(`{"from":"a","tags":[],"next":null}`)}},
		{"it has 0 values, and 1 are declared", "say", nil},
		{"it has 2 values", "say", []any{whole, 1}},
		{"it.Tags is a nil []string", "say", []any{said{}}},
		{"it.Next.Tags is a nil []string", "say", []any{said{Tags: []string{}, Next: &said{}}}},
		{"it is nil, and a", "say", []any{nil}},
		{"it is a nil *sockeye_test.said", "say", []any{(*said)(nil)}},
		{"it is a string", "say", []any{"text"}},
		{"unknown field \"x\"", "say", []any{map[string]any{"from": "", "tags": []string{}, "next": nil, "x": 1}}},
		{"would be", "say", []any{map[string]any{"tags": []string{}, "next": nil}}},
		{"", "many", []any{"a", 1, nil}},
		{"", "many", []any{"a", 1.5, 7, true, false}},
		{"value 4: it is a int", "many", []any{"a", 1.5, new(int), true, 1}},
		{"value 2: it is a float64", "many", []any{"a", 1.5, 1.5}},
		{"it has 2 values, and 4 are declared", "many", []any{"a", 1}},
		{"", "binary", []any{[]byte(nil)}},
		{"[]byte alone is binary", "binary", []any{"text"}},
		{"[]byte alone is binary", "map", []any{[]byte("x")}},
		{"it is a nil map", "map", []any{map[string]int(nil)}},
		{"", "map", []any{map[string]int{}}},
		{"", "any", []any{nil}},
		{"", "any", []any{func() {}}},
		{"it is emitted and not declared", "other", nil},
	} {
		if srv.All().Emit(c.event, c.args...) == nil {
			sent++
		}
		if got := told.took(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s %v: %q, want %q", c.event, c.args, got, c.want)
		}
		if srv.Sockets()[0].Emit(c.event, c.args...) == nil {
			sent++
		}
		if got := told.took(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s %v, to one: %q, want %q", c.event, c.args, got, c.want)
		}
	}
	if n := len(c.Received()); n != sent || n < 50 {
		t.Errorf("%d of %d were sent", n, sent)
	}
}

// TestEmitsOfParentsAreCompared once for each child, and once without children.
func TestEmitsOfParentsAreCompared(t *testing.T) {
	var told faults
	srv := sockeyetest.NewServer(t, sockeye.Config{OnContractError: told.add})
	parent := srv.OfPattern(regexp.MustCompile(`/game-.+`))
	sockeye.Emits[int](parent, "n")
	for _, want := range []int{1, 1, 2} {
		_ = parent.Emit("n", 1)
		if got := told.took(); got != "" {
			t.Errorf("it is as declared: %s", got)
		}
		_ = parent.To("room").Emit("n", "text")
		_, _ = parent.All().Local().Call(t.Context(), "other")
		got := told.took()
		if strings.Count(got, "it is a string") != want || strings.Count(got, "is emitted and not declared") != want || !strings.Contains(got, "/game-") {
			t.Errorf("with %d children: %s", len(parent.Children()), got)
		}
		srv.Of(fmt.Sprintf("/game-%d", len(parent.Children())))
	}
}

// TestAnswersAreCompared: those of peers, and those of handlers.
func TestAnswersAreCompared(t *testing.T) {
	var told faults
	srv := sockeyetest.NewServer(t, sockeye.Config{OnContractError: told.add})
	sockeye.Emits[func(q string) (int, string)](srv, "ask")
	sockeye.Emits[string](srv, "tell")
	sockeye.Accepts[func(string) []string](srv, "raw")
	srv.On("raw", func(_ *sockeye.Socket, e *sockeye.Event) error {
		var v any
		_ = e.Decode(&v)
		switch v {
		case "later":
			return e.AckLater()(1)
		case "fails":
			return &sockeye.AckError{Message: "no"}
		}
		return e.Ack(v)
	})
	srv.On("typed", func(fill bool) (map[string]int, error) {
		if fill {
			return map[string]int{}, nil
		}
		return nil, nil
	})
	c := srv.Connect(t, sockeyetest.Options{})
	s := srv.Sockets()[0]
	ask := func(answer ...any) {
		t.Helper()
		c.Answer(func(sockeyetest.Event) []any { return answer })
		done := make(chan error, 2)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := s.Call(ctx, "ask", "?")
			done <- err
			_, err = srv.All().Call(ctx, "ask", "?")
			done <- err
		}()
		for range 2 {
			for answered := false; !answered; {
				select {
				case err := <-done:
					if answered = true; err != nil {
						t.Error(err)
					}
				default:
					srv.Settle()
					c.Received()
				}
			}
		}
	}
	for _, x := range []struct {
		want string
		do   func()
	}{
		{"", func() { ask(1, "a") }},
		{"", func() { ask(1, "a", "more") }},
		{"value 1: the peer's answer: sockeye: the event has fewer arguments", func() { ask(1) }},
		{"value 0: the peer's answer: json", func() { ask("x", "a") }},
		{"an answer is declared, and none is asked for", func() { s.Emit("ask", "?") }},
		{"an answer is asked for, and none is declared", func() { s.EmitWithAck(func(sockeye.Args, error) {}, "tell", "x") }},
		{"", func() { c.Call("raw", []string{"a"}) }},
		{"a string, and a []string is declared", func() { c.Call("raw", "a") }},
		{"a int, and a []string is declared", func() { c.Call("raw", "later") }},
		{"", func() { c.Call("raw", "fails") }},
		{"the answer is a nil map", func() { c.Call("typed", false) }},
		{"", func() { c.Call("typed", true) }},
	} {
		x.do()
		if got := told.took(); (got == "") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}

// TestContractIsFree: who does not compare pays nothing for what is declared.
func TestContractIsFree(t *testing.T) {
	emit := func(declare bool) float64 {
		srv, err := sockeye.New(sockeye.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if declare {
			sockeye.Emits[string](srv, "say")
		}
		return testing.AllocsPerRun(200, func() { _ = srv.Emit("say", "text") })
	}
	if plain, declared := emit(false), emit(true); declared > plain {
		t.Errorf("%v allocations, %v without a declaration", declared, plain)
	}
}
