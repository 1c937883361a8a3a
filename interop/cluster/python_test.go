package cluster_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/pyredis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

const pythonProgram = ".venv/bin/python"

// python starts a server of Python's: "socketio", "asyncio" or "flask".
func python(t testing.TB, kind, bus string) *far.Process {
	t.Helper()
	if _, err := os.Stat(pythonProgram); err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("SOCKEYE_INTEROP") != "" {
			t.Fatal("run ci/cluster.sh first")
		}
		t.Skip("ci/cluster.sh installs what this needs")
	}
	return far.Start(t, "Python", pythonProgram, "python.py", kind, bus)
}

// channels are where Python's servers meet.
var channels = map[string]string{"socketio": "socketio", "asyncio": "socketio", "flask": "flask-socketio"}

// peer is a client of one of several servers.
type peer struct {
	*client.Client

	mu  sync.Mutex
	got []string
}

// connect connects a client, which joins rooms.
func connect(t testing.TB, url, namespace string, rooms ...string) *peer {
	t.Helper()
	p := &peer{}
	base, err := client.New(url, client.Config{Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	if p.Client = base; namespace != "/" {
		if p.Client, err = base.Share(namespace); err != nil {
			t.Fatal(err)
		}
	}
	p.OnAny(func(e *client.Event) {
		values, err := e.Args.Values()
		if err != nil {
			t.Error(err)
		}
		if e.Name == "ask" {
			_ = e.Ack("one", map[string]any{"two": values})
		}
		p.add(e.Name + adaptertest.Text(values))
	})
	p.OnDisconnect(func(reason string) { p.add("disconnect: " + reason) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if _, err := p.Call(ctx, "join", room); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *peer) add(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, text)
}

// until waits until cond holds for what has come, which it returns.
func (p *peer) until(d time.Duration, cond func(got []string) bool) ([]string, bool) {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		got := slices.Clone(p.got)
		p.mu.Unlock()
		if cond(got) {
			return got, true
		}
		if time.Now().After(end) {
			return got, false
		}
	}
}

// real is what has come other than what tests of readiness are.
func real(got []string) (list []string) {
	for _, g := range got {
		if !strings.HasPrefix(g, "ready") {
			list = append(list, g)
		}
	}
	return list
}

// expect waits until exactly want has come, and forgets it.
func (p *peer) expect(want ...string) error {
	got, ok := p.until(20*time.Second, func(got []string) bool { return slices.Equal(real(got), want) })
	if !ok {
		return fmt.Errorf("%.500q, not %.500q", real(got), want)
	}
	p.forget()
	return nil
}

func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = nil
}

// reach waits until a server reaches a room of a peer's; "" is its own.
func reach(t testing.TB, from far.Server, p *peer, namespace, room string) {
	t.Helper()
	to := far.Target{Namespace: namespace, Rooms: []string{room}}
	if room == "" {
		to.Rooms[0] = p.ID()
	}
	adaptertest.Eventually(t, fmt.Sprintf("%s reaches %q", from.Name(), room), func() bool {
		if err := from.Emit(to, "ready"); err != nil {
			t.Fatal(err)
		}
		_, ok := p.until(100*time.Millisecond, func(got []string) bool { return slices.Contains(got, "ready[]") })
		return ok
	})
}

// pyWorld are two servers; three sockets of to's are in red, in red and blue, and in none;
// one of from's is in red.
type pyWorld struct {
	t             testing.TB
	from, to      far.Server
	here, a, b, c *peer

	via *far.Near // between them, or nil
}

// do has an operation done that Server does not have.
func do(s far.Server, op string, fields ...any) error {
	if s.Name() == "Python" {
		return s.(*far.Process).Do(op, nil, fields...)
	}
	room := fields[0].(map[string]any)["names"].([]string)[0]
	return s.Leave(far.Target{Rooms: []string{room}}, room)
}

// expect: each of here, a, b, c has got exactly this, other than an end.
func (w *pyWorld) expect(here, a, b, c []string) error {
	if err := w.from.Emit(far.Target{}, "end"); err != nil {
		return err
	}
	for i, p := range []*peer{w.here, w.a, w.b, w.c} {
		want := append(slices.Clone([][]string{here, a, b, c}[i]), "end[]")
		if err := p.expect(want...); err != nil {
			return fmt.Errorf("socket %d has got %w", i, err)
		}
	}
	return nil
}

// in waits until a socket of to's is in a room, or not.
func (w *pyWorld) in(p *peer, room string, want bool) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var rooms []string
		switch s := w.to.(type) {
		case *far.Process:
			if err := s.Do("rooms", &rooms, map[string]any{"socket": p.ID()}); err != nil {
				return err
			}
		case *far.Near:
			rooms = s.Socket(p.ID()).Rooms()
		}
		if slices.Contains(rooms, room) == want {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the socket is in %q", rooms)
		}
	}
}

var e1 = []string{"e[1]"}

// pyRows are what one server does to the sockets of another.
var pyRows = []struct {
	name string
	run  func(w *pyWorld) error
}{
	{"broadcast", func(w *pyWorld) error {
		if err := w.from.Emit(far.Target{}, "e", 1); err != nil {
			return err
		}
		return w.expect(e1, e1, e1, e1)
	}},
	{"room", func(w *pyWorld) error {
		if err := w.from.Emit(far.Target{Rooms: []string{"red"}}, "e", 1); err != nil {
			return err
		}
		return w.expect(e1, e1, e1, nil)
	}},
	{"several rooms", func(w *pyWorld) error {
		if err := w.from.Emit(far.Target{Rooms: []string{"red", "blue", "none"}}, "e", 1); err != nil {
			return err
		}
		return w.expect(e1, e1, e1, nil)
	}},
	{"one socket", func(w *pyWorld) error {
		if err := w.from.Emit(far.Target{Rooms: []string{w.b.ID()}}, "e", 1); err != nil {
			return err
		}
		return w.expect(nil, nil, e1, nil)
	}},
	{"except a socket (skip_sid)", func(w *pyWorld) error {
		for _, except := range [][]string{{w.a.ID()}, {w.a.ID(), w.here.ID()}} {
			if err := w.from.Emit(far.Target{Rooms: []string{"red"}, Except: except}, "e", 1); err != nil {
				return err
			}
		}
		return w.expect(e1, nil, []string{"e[1]", "e[1]"}, nil)
	}},
	{"values, binary included", func(w *pyWorld) error {
		var want []string
		for _, args := range [][]any{
			{},
			{"text", 1.5, true, nil, "é世界🐟\"\\"},
			{[]any{1, []any{2}}},
			{map[string]any{"a": []any{}, "b": map[string]any{}}},
			{[]byte{1, 2, 255}},
			{[]byte{}, "and", map[string]any{"in": []byte{0}, "list": []any{[]byte("x"), []byte("y")}}},
			{map[string]any{"_placeholder": "no", "num": 0.0}},
			{make([]byte, 100_000), strings.Repeat("long ", 20_000)},
		} {
			if err := w.from.Emit(far.Target{}, "e", args...); err != nil {
				return err
			}
			want = append(want, "e"+adaptertest.Text(args))
		}
		return w.expect(want, want, want, want)
	}},
	{"acknowledgement of one socket (callback)", func(w *pyWorld) error {
		for _, p := range []*peer{w.a, w.b} {
			answers, missing, err := w.from.Call(far.Target{Rooms: []string{p.ID()}}, 10*time.Second, "ask", 1, "x")
			if err != nil || missing != "" || len(answers) == 0 || answers[0] != "one" {
				return fmt.Errorf("%v, %q, %v", answers, missing, err)
			}
			if w.from.Name() == "Python" && w.to.Name() != "Node" && adaptertest.Text(answers) != "[one map[two:[1 x]]]" {
				return fmt.Errorf("%v", answers)
			}
		}
		ask := []string{"ask[1 x]"}
		return w.expect(nil, ask, ask, nil)
	}},
	{"an acknowledgement that does not come", func(w *pyWorld) error {
		answers, missing, err := w.from.Call(far.Target{Rooms: []string{w.a.ID()}}, 300*time.Millisecond, "e", 1)
		if err != nil || missing == "" || len(answers) != 0 {
			return fmt.Errorf("%v, %q, %v", answers, missing, err)
		}
		return w.expect(nil, e1, nil, nil)
	}},
	{"a socket joins (enter_room)", func(w *pyWorld) error {
		if err := w.from.Join(far.Target{Rooms: []string{w.c.ID()}}, "green", "two words"); err != nil {
			return err
		}
		for _, room := range []string{"green", "two words"} {
			if err := w.in(w.c, room, true); err != nil {
				return err
			}
			if err := w.from.Emit(far.Target{Rooms: []string{room}}, "e", 1); err != nil {
				return err
			}
		}
		return w.expect(nil, nil, nil, []string{"e[1]", "e[1]"})
	}},
	{"a socket leaves (leave_room)", func(w *pyWorld) error {
		if err := w.from.Leave(far.Target{Rooms: []string{w.c.ID()}}, "green", "two words"); err != nil {
			return err
		}
		for _, room := range []string{"green", "two words"} {
			if err := w.in(w.c, room, false); err != nil {
				return err
			}
		}
		if err := w.from.Emit(far.Target{Rooms: []string{"green"}}, "e", 1); err != nil {
			return err
		}
		return w.expect(nil, nil, nil, nil)
	}},
	{"a room is closed (close_room)", func(w *pyWorld) error {
		if err := do(w.from, "closeRoom", map[string]any{"names": []string{"blue"}}); err != nil {
			return err
		}
		if err := w.in(w.b, "blue", false); err != nil {
			return err
		}
		if err := w.in(w.b, "red", true); err != nil {
			return err
		}
		if err := w.from.Emit(far.Target{Rooms: []string{"blue"}}, "e", 1); err != nil {
			return err
		}
		return w.expect(nil, nil, nil, nil)
	}},
	{"a socket is disconnected", func(w *pyWorld) error {
		p := connect(w.t, w.to.URL(), "/")
		reach(w.t, w.from, p, "", "")
		p.forget()
		if err := w.from.Disconnect(far.Target{Rooms: []string{p.ID()}}, false); err != nil {
			return err
		}
		got, ok := p.until(20*time.Second, func(got []string) bool { return slices.Contains(got, "disconnect: io server disconnect") })
		if !ok {
			return fmt.Errorf("%q", got)
		}
		return w.expect(nil, nil, nil, nil)
	}},
	{"strange names of rooms", func(w *pyWorld) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var want []string
		for i, name := range adaptertest.Names {
			if _, err := w.b.Call(ctx, "join", name); err != nil {
				return err
			}
			if err := w.from.Emit(far.Target{Rooms: []string{name}}, "e", i); err != nil {
				return err
			}
			want = append(want, fmt.Sprintf("e[%d]", i))
		}
		return w.expect(nil, nil, want, nil)
	}},
	{"namespaces, of strange names", func(w *pyWorld) error {
		for _, name := range []string{"/chat", "/a#b", "/*x", "/ü 部屋", "/[a]"} {
			if name == "/[a]" && w.to.Name() == "Node" {
				continue // its pattern is not escaped
			}
			for _, s := range []far.Server{w.from, w.to, w.via} {
				if n, ok := s.(*far.Near); ok && n == nil {
					continue
				}
				if err := s.Of(name); err != nil {
					return err
				}
			}
			p := connect(w.t, w.to.URL(), name, "room")
			reach(w.t, w.from, p, name, "")
			p.forget()
			for i, rooms := range [][]string{nil, {"room"}} {
				if err := w.from.Emit(far.Target{Namespace: name, Rooms: rooms}, "e", i, []byte{1}); err != nil {
					return err
				}
			}
			if err := p.expect("e[0 [1]]", "e[1 [1]]"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return w.expect(nil, nil, nil, nil)
	}},
}

// runPython runs all rows from one server to another.
func runPython(t *testing.T, r *far.Results, title string, from, to far.Server, via *far.Near) {
	t.Helper()
	direction := title + ": " + from.Name() + " → " + to.Name()
	if via != nil && via != from && via != to {
		direction = title + ": " + from.Name() + " → Go → " + to.Name()
	}
	r.Directions = append(r.Directions, direction)
	if r.By == nil {
		r.By = map[[2]string]string{}
	}
	t.Run(direction, func(t *testing.T) {
		w := &pyWorld{t: t, from: from, to: to, via: via}
		w.here = connect(t, from.URL(), "/", "red")
		w.a, w.b, w.c = connect(t, to.URL(), "/", "red"), connect(t, to.URL(), "/", "red", "blue"), connect(t, to.URL(), "/")
		all := []*peer{w.here, w.a, w.b, w.c}
		for _, p := range all {
			reach(t, from, p, "", "")
		}
		_ = from.Emit(far.Target{}, "ready to begin")
		for _, p := range all { // what is on its way has come
			p.until(20*time.Second, func(got []string) bool { return slices.Contains(got, "ready to begin[]") })
			p.forget()
		}
		for _, row := range pyRows {
			if len(r.Rows) < len(pyRows) {
				r.Rows = append(r.Rows, row.name)
			}
			key := [2]string{row.name, direction}
			r.By[key] = "✓"
			if err := row.run(w); err != nil {
				r.By[key] = strings.ReplaceAll(err.Error(), "|", "\\|")
				t.Errorf("%s: %v", row.name, err)
				_ = w.expect(nil, nil, nil, nil)
				for _, p := range all {
					p.forget()
				}
			}
		}
	})
}

// TestPython: Go's servers and Python's do to each other's sockets what they do to their own
// kind's.
func TestPython(t *testing.T) {
	var results far.Results
	for _, v := range [][2]string{{"socketio", "python-socketio"}, {"asyncio", "python-socketio, asyncio"}, {"flask", "Flask-SocketIO"}} {
		kind, title := v[0], v[1]
		srv := redistest.Start(t)
		other := python(t, kind, "redis://"+srv.Addr)
		a, err := pyredis.New(srv.Client(t), pyredis.Options{Channel: channels[kind]})
		if err != nil {
			t.Fatal(err)
		}
		near := far.NewNear(t, "Go", a)
		runPython(t, &results, title, near, other, nil)
		runPython(t, &results, title, other, near, nil)
		if n := a.Stats().Ignored; n != 0 {
			t.Errorf("%d messages are ignored", n)
		}
	}
	t.Logf("\n%s", results.Table())
	if *write {
		results.Write(t, "../../docs/cluster-matrix.md", "python")
	}
}

// TestPythonEmitters: a process of Python's that only emits reaches Go's sockets, and one of
// Go's reaches Python's.
func TestPythonEmitters(t *testing.T) {
	for _, kind := range []string{"socketio", "flask"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Start(t)
			py := python(t, kind, "redis://"+srv.Addr)
			options := pyredis.Options{Channel: channels[kind]}
			a, err := pyredis.New(srv.Client(t), options)
			if err != nil {
				t.Fatal(err)
			}
			near := far.NewNear(t, "Go", a)
			peers := []*peer{connect(t, near.URL(), "/", "red"), connect(t, py.URL(), "/", "red")}
			for _, from := range []far.Server{near, py} {
				for _, p := range peers {
					reach(t, from, p, "", "")
				}
				_ = from.Emit(far.Target{}, "ready"+from.Name())
				for _, p := range peers {
					p.until(20*time.Second, func(got []string) bool { return slices.Contains(got, "ready"+from.Name()+"[]") })
					p.forget()
				}
			}
			ids := []string{peers[0].ID(), peers[1].ID()}
			emitter := func(what string, fields map[string]any) {
				t.Helper()
				fields["what"] = what
				if err := py.Do("emitter", nil, fields); err != nil {
					t.Error(err)
				}
			}
			e := pyredis.NewEmitter(srv.Client(t), options)
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			ctx := t.Context()
			for i, p := range peers {
				emitter("emit", map[string]any{"event": "py", "args": []any{1, far.Pack([]byte{1, 2})}, "rooms": []string{"red"}, "except": []string{ids[1-i]}})
				check(p.expect("py[1 [1 2]]"))
				emitter("join", map[string]any{"rooms": []string{ids[i]}, "names": []string{"green"}})
				emitter("emit", map[string]any{"event": "green", "rooms": []string{"green"}})
				check(p.expect("green[]"))
				emitter("leave", map[string]any{"rooms": []string{ids[i]}, "names": []string{"green"}})
				emitter("emit", map[string]any{"event": "nobody", "rooms": []string{"green"}})

				check(e.To("red").Except(ids[1-i]).Emit(ctx, "go", 1, []byte{1, 2}))
				check(p.expect("go[1 [1 2]]"))
				check(e.To(ids[i]).Join(ctx, "green"))
				check(e.To("green").Emit(ctx, "green"))
				check(p.expect("green[]"))
				check(e.CloseRoom(ctx, "green"))
				check(e.To("green").Emit(ctx, "nobody"))
				check(e.Emit(ctx, "all"))
				for _, p := range peers {
					check(p.expect("all[]"))
				}
			}
			check(e.To(ids...).Disconnect(ctx))
			for _, p := range peers {
				check(p.expect("disconnect: io server disconnect"))
			}
		})
	}
}
