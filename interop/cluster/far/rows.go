package far

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/client"
)

// Row is a case: what one server does to the sockets, or the servers, of another.
type Row struct {
	Name string
	run  func(w *world) error
}

// world are two servers, with sockets of each.
type world struct {
	t        testing.TB
	from, to Server
	here     *peer // of from, in red
	a, b, c  *peer // of to: in red; in red and blue; in none
	n        int   // how many ends have been emitted
	hopeless bool  // nobody need wait for long
	mixed    bool  // what is sent may come in another order
}

// peer is a client, and what has come to it.
type peer struct {
	*client.Client
	server Server

	mu     sync.Mutex
	got    []string
	silent bool
}

func (w *world) connect(s Server, namespace string, rooms ...string) (*peer, error) {
	base, err := client.New(s.URL(), client.Config{Transports: []string{"websocket"}})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = base.Close() })
	p := &peer{Client: base, server: s}
	if namespace != "/" {
		if p.Client, err = base.Share(namespace); err != nil {
			return nil, err
		}
	}
	p.OnAny(func(e *client.Event) {
		values, err := e.Args.Values()
		text := e.Name + adaptertest.Text(values)
		if err != nil {
			text = err.Error()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, text)
		if !p.silent && e.Name == "q" {
			_ = e.Ack(map[string]any{"id": p.ID(), "bin": []byte{1, 0, 255}})
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := p.Connect(ctx); err != nil {
		return nil, err
	}
	for _, room := range rooms {
		if _, err := p.Call(ctx, "join", room); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// until waits until cond holds for what has come.
func (p *peer) until(d time.Duration, cond func(got []string) bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		ok := cond(p.got)
		p.mu.Unlock()
		if ok || time.Now().After(end) {
			return ok
		}
	}
}

// take waits until an event has come, and returns what has come before it; all is forgotten
// then.
func (p *peer) take(end string) ([]string, error) {
	if !p.until(limit, func(got []string) bool { return slices.Contains(got, end) }) {
		return nil, fmt.Errorf("%s does not come to a socket of %s", end, p.server.Name())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	list := events(p.got, end)
	p.got = nil
	return list, nil
}

// events are those that are no marks of the tests.
func events(got []string, end string) (list []string) {
	for _, g := range got {
		if g != end && !strings.HasPrefix(g, "ready") && !strings.HasPrefix(g, "end") {
			list = append(list, g)
		}
	}
	return list
}

// reach waits until a server reaches a room of a peer's; "" is its own.
func (w *world) reach(from Server, p *peer, namespace, room string) error {
	w.n++
	event := fmt.Sprint("ready", w.n)
	limit := limit
	if w.hopeless {
		limit = 2 * time.Second
	}
	for end := time.Now().Add(limit); ; {
		to := Target{Namespace: namespace, Rooms: []string{p.ID()}}
		if room != "" {
			to.Rooms[0] = room
		}
		if err := from.Emit(to, event); err != nil {
			return err
		}
		if p.until(50*time.Millisecond, func(got []string) bool { return slices.Contains(got, event+"[]") }) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not reach %q of %s", from.Name(), room, p.server.Name())
		}
	}
}

// expect ends a case: each peer has got exactly this, in this order.
func (w *world) expect(here, a, b, c []string) error {
	if w.mixed {
		for i, p := range []*peer{w.here, w.a, w.b, w.c} {
			p.until(limit, func(got []string) bool { return len(events(got, "")) >= len([][]string{here, a, b, c}[i]) })
		}
	}
	w.n++
	event := fmt.Sprint("end", w.n)
	if err := w.from.Emit(Target{}, event); err != nil {
		return err
	}
	for i, p := range []*peer{w.here, w.a, w.b, w.c} {
		got, err := p.take(event + "[]")
		if err != nil {
			return err
		}
		want := [][]string{here, a, b, c}[i]
		if !w.same(got, want) {
			return fmt.Errorf("%s's socket %d got %q, not %q", p.server.Name(), i, got, want)
		}
	}
	return nil
}

// same tells whether what has come is what was to come.
func (w *world) same(got, want []string) bool {
	if w.mixed {
		got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	}
	return slices.Equal(got, want)
}

func (w *world) emit(to Target, event string, args ...any) error {
	return w.from.Emit(to, event, args...)
}

func eventually(what string, cond func() (bool, error)) error {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		ok, err := cond()
		if ok {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %s (%v)", limit, what, err)
		}
	}
}

// Rows are the cases.
var Rows = []Row{
	{"broadcast", func(w *world) error {
		if err := w.emit(Target{}, "e", 1, "two", nil, true, 1.5, map[string]any{"k": []any{"v"}}); err != nil {
			return err
		}
		one := []string{"e" + adaptertest.Text([]any{1, "two", nil, true, 1.5, map[string]any{"k": []any{"v"}}})}
		return w.expect(one, one, one, one)
	}},
	{"one room", func(w *world) error {
		if err := w.emit(Target{Rooms: []string{"red"}}, "e"); err != nil {
			return err
		}
		if err := w.emit(Target{Rooms: []string{w.c.ID()}}, "own"); err != nil {
			return err
		}
		one := []string{"e[]"}
		return w.expect(one, one, one, []string{"own[]"})
	}},
	{"several rooms", func(w *world) error {
		if err := w.emit(Target{Rooms: []string{"red", "blue"}}, "e"); err != nil {
			return err
		}
		one := []string{"e[]"}
		return w.expect(one, one, one, nil)
	}},
	{"except", func(w *world) error {
		for event, to := range map[string]Target{"e": {Except: []string{"blue"}}} {
			if err := w.emit(to, event); err != nil {
				return err
			}
		}
		if err := w.emit(Target{Rooms: []string{"red"}, Except: []string{"blue", w.a.ID()}}, "f"); err != nil {
			return err
		}
		return w.expect([]string{"e[]", "f[]"}, []string{"e[]"}, nil, []string{"e[]"})
	}},
	{"volatile", func(w *world) error {
		if err := w.emit(Target{Volatile: true}, "e", 1); err != nil {
			return err
		}
		one := []string{"e[1]"}
		return w.expect(one, one, one, one)
	}},
	{"binary", func(w *world) error {
		args := []any{[]byte{1, 2, 3}, map[string]any{"in": []any{[]byte{0, 255}, "x"}}, []byte{}}
		if err := w.emit(Target{Rooms: []string{"blue"}}, "e", args...); err != nil {
			return err
		}
		return w.expect(nil, nil, []string{"e" + adaptertest.Text(args)}, nil)
	}},
	{"around 8000 bytes", func(w *world) error { // PostgreSQL's bound
		var want []string
		for n := 7700; n <= 8100; n += 10 {
			text := strings.Repeat("é", n/2)
			if err := w.emit(Target{}, "e", text); err != nil {
				return err
			}
			want = append(want, "e"+adaptertest.Text([]any{text}))
		}
		return w.expect(want, want, want, want)
	}},
	{"acknowledgements of all", func(w *world) error {
		answers, missing, err := w.from.Call(Target{}, 5*time.Second, "q", []byte("b"), 1)
		if err != nil || missing != "" {
			return fmt.Errorf("%v, %s", err, missing)
		}
		if err := ids(answers, w.here, w.a, w.b, w.c); err != nil {
			return err
		}
		answers, missing, err = w.from.Call(Target{Rooms: []string{"red"}, Except: []string{"blue"}}, 5*time.Second, "q", []byte("b"), 1)
		if err != nil || missing != "" {
			return fmt.Errorf("%v, %s", err, missing)
		}
		if err := ids(answers, w.here, w.a); err != nil {
			return err
		}
		q := "q" + adaptertest.Text([]any{[]byte("b"), 1})
		return w.expect([]string{q, q}, []string{q, q}, []string{q}, []string{q})
	}},
	{"acknowledgements, one missing", func(w *world) error {
		w.c.mu.Lock()
		w.c.silent = true
		w.c.mu.Unlock()
		defer func() {
			w.c.mu.Lock()
			w.c.silent = false
			w.c.mu.Unlock()
		}()
		began := time.Now()
		answers, missing, err := w.from.Call(Target{}, time.Second, "q")
		if err != nil {
			return err
		}
		if d := time.Since(began); missing == "" || d > 4*time.Second {
			return fmt.Errorf("missing is %q, after %v", missing, d)
		}
		if err := ids(answers, w.here, w.a, w.b); err != nil {
			return err
		}
		q := []string{"q[]"}
		return w.expect(q, q, q, q)
	}},
	{"fetchSockets", func(w *world) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if _, err := w.b.Call(ctx, "data", map[string]any{"name": "bee"}); err != nil {
			return err
		}
		list, err := w.from.Fetch(Target{})
		if err != nil {
			return err
		}
		if len(list) != 4 {
			return fmt.Errorf("%d sockets", len(list))
		}
		for _, s := range list {
			if s.ID != w.b.ID() {
				continue
			}
			slices.Sort(s.Rooms)
			want := []string{s.ID, "blue", "red"}
			slices.Sort(want)
			if !slices.Equal(s.Rooms, want) || fmt.Sprint(s.Data) != "map[name:bee]" {
				return fmt.Errorf("%q, %v", s.Rooms, s.Data)
			}
		}
		list, err = w.from.Fetch(Target{Rooms: []string{"red"}, Except: []string{w.a.ID(), w.here.ID()}})
		if err != nil || len(list) != 1 || list[0].ID != w.b.ID() {
			return fmt.Errorf("%v, %v", list, err)
		}
		return nil
	}},
	{"socketsJoin", func(w *world) error {
		if err := w.from.Join(Target{Rooms: []string{"red"}, Except: []string{"blue"}}, "green", "two words"); err != nil {
			return err
		}
		for _, room := range []string{"green", "two words"} {
			if err := w.reach(w.from, w.a, "/", room); err != nil {
				return err
			}
			if err := w.emit(Target{Rooms: []string{room}}, "e"); err != nil {
				return err
			}
		}
		two := []string{"e[]", "e[]"}
		return w.expect(two, two, nil, nil)
	}},
	{"socketsLeave", func(w *world) error {
		if err := w.from.Leave(Target{Rooms: []string{"green"}}, "green", "two words"); err != nil {
			return err
		}
		if err := eventually("green is empty", func() (bool, error) {
			list, err := w.from.Fetch(Target{Rooms: []string{"green", "two words"}})
			return err == nil && len(list) == 0, err
		}); err != nil {
			return err
		}
		if err := w.emit(Target{Rooms: []string{"green"}}, "e"); err != nil {
			return err
		}
		return w.expect(nil, nil, nil, nil)
	}},
	{"disconnectSockets", func(w *world) error {
		reasons := make(chan string, 2)
		for _, closing := range []bool{false, true} {
			p, err := w.connect(w.to, "/", "going")
			if err != nil {
				return err
			}
			p.OnDisconnect(func(reason string) { reasons <- reason })
			if err := w.reach(w.from, p, "/", "going"); err != nil {
				return err
			}
			if err := w.from.Disconnect(Target{Rooms: []string{"going"}}, closing); err != nil {
				return err
			}
			select {
			case reason := <-reasons:
				if reason != "io server disconnect" {
					return fmt.Errorf("the reason is %q", reason)
				}
			case <-time.After(limit):
				return fmt.Errorf("it is not disconnected")
			}
		}
		return nil
	}},
	{"serverSideEmit", func(w *world) error {
		before, err := w.to.ServerEvents()
		if err != nil {
			return err
		}
		args := []any{"world", 2, map[string]any{"a": []any{nil}}}
		if err := w.from.ServerEmit("hello", args...); err != nil {
			return err
		}
		return eventually("the event comes", func() (bool, error) {
			list, err := w.to.ServerEvents()
			if err != nil || len(list) <= len(before) {
				return false, err
			}
			e := list[len(before)]
			return e.Event == "hello" && adaptertest.Text(e.Args) == adaptertest.Text(args), fmt.Errorf("%v", e)
		})
	}},
	{"serverSideEmit with acknowledgements", func(w *world) error {
		answers, missing, err := w.from.ServerCall("ask", "you")
		if err != nil || missing != "" || adaptertest.Text(answers) != "[map[node:you]]" {
			return fmt.Errorf("%v, %q, %v", answers, missing, err)
		}
		return nil
	}},
	{"strange names of rooms", func(w *world) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var want []string
		for i, name := range adaptertest.Names {
			if _, err := w.b.Call(ctx, "join", name); err != nil {
				return err
			}
			if err := w.reach(w.from, w.b, "/", name); err != nil {
				return err
			}
			if err := w.emit(Target{Rooms: []string{name}}, "e", i); err != nil {
				return err
			}
			want = append(want, fmt.Sprintf("e[%d]", i))
		}
		if err := w.expect(nil, nil, want, nil); err != nil {
			return err
		}
		for _, name := range adaptertest.Names {
			if _, err := w.b.Call(ctx, "leave", name); err != nil {
				return err
			}
		}
		return nil
	}},
	{"strange names of namespaces", func(w *world) error {
		for _, name := range []string{"/chat", "/a#b", "/*", "/ü 部屋"} {
			if err := w.namespace(name); err != nil {
				return err
			}
		}
		return w.expect(nil, nil, nil, nil)
	}},
	{Brackets, func(w *world) error { return w.namespace("/[a]") }},
}

// Brackets is the name of the row about a namespace with brackets in its name.
const Brackets = "a namespace with brackets in its name"

// namespace reaches sockets of a namespace.
func (w *world) namespace(name string) error {
	for _, s := range []Server{w.from, w.to} {
		if err := s.Of(name); err != nil {
			return err
		}
	}
	p, err := w.connect(w.to, name, "room")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, room := range []string{"", "room"} {
		if err := w.reach(w.from, p, name, room); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for i, to := range []Target{{Namespace: name}, {Namespace: name, Rooms: []string{"room"}}, {Namespace: name}} {
		if err := w.emit(to, "e", i, []byte{1}); err != nil {
			return err
		}
	}
	p.until(limit, func(got []string) bool { return len(events(got, "")) >= 3 })
	got, err := p.take("e[2 [1]]")
	if err != nil || !w.same(got, []string{"e[0 [1]]", "e[1 [1]]"}) {
		return fmt.Errorf("%s: %q, %v", name, got, err)
	}
	return nil
}

// ids checks who has answered, and with binary.
func ids(answers []any, want ...*peer) error {
	var got, all []string
	for _, a := range answers {
		m, _ := a.(map[string]any)
		id, _ := m["id"].(string)
		if b, ok := m["bin"].([]byte); !ok || string(b) != "\x01\x00\xff" {
			return fmt.Errorf("an answer is %v", a)
		}
		got = append(got, id)
	}
	for _, p := range want {
		all = append(all, p.ID())
	}
	slices.Sort(got)
	slices.Sort(all)
	if !slices.Equal(got, all) {
		return fmt.Errorf("%d have answered, not %d", len(got), len(all))
	}
	return nil
}

// asking are the rows that want answers, which emitters do not get.
var asking = []string{"acknowledgements of all", "acknowledgements, one missing", "fetchSockets", "serverSideEmit with acknowledgements"}

// Emitter is one that is no server, beside a server: what it can do it does, the rest the
// server does.
type Emitter struct {
	Server
	Title        string
	DoEmit       func(to Target, event string, args ...any) error
	DoJoin       func(to Target, rooms ...string) error
	DoLeave      func(to Target, rooms ...string) error
	DoDisconnect func(to Target, closeSession bool) error
	DoServerEmit func(event string, args ...any) error
}

// Name is the emitter's.
func (e *Emitter) Name() string { return e.Title }

// Emit emits an event.
func (e *Emitter) Emit(to Target, event string, args ...any) error {
	return e.DoEmit(to, event, args...)
}

// Join has sockets join rooms.
func (e *Emitter) Join(to Target, rooms ...string) error { return e.DoJoin(to, rooms...) }

// Leave has sockets leave rooms.
func (e *Emitter) Leave(to Target, rooms ...string) error { return e.DoLeave(to, rooms...) }

// Disconnect disconnects sockets.
func (e *Emitter) Disconnect(to Target, closeSession bool) error {
	return e.DoDisconnect(to, closeSession)
}

// ServerEmit sends an event to the servers.
func (e *Emitter) ServerEmit(event string, args ...any) error { return e.DoServerEmit(event, args...) }
