// Package far drives Socket.IO servers that share a bus, of whatever kind, through the same
// cases. A Server is one of them. Process is a server in another language, a process that is
// driven by lines of JSON; Near is Sockeye's. Rows are the cases, Run runs them from each
// server to each other, and Table writes down what it has found.
package far

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Target is whom a server addresses.
type Target struct {
	Namespace string   `json:"nsp,omitempty"`
	Rooms     []string `json:"rooms,omitempty"`
	Except    []string `json:"except,omitempty"`
	Volatile  bool     `json:"volatile,omitempty"`
}

// Socket is one that a server knows of.
type Socket struct {
	ID    string   `json:"id"`
	Rooms []string `json:"rooms"`
	Data  any      `json:"data"`
}

// ServerEvent is what has come from another server.
type ServerEvent struct {
	Event string `json:"event"`
	Args  []any  `json:"args"`
}

// Server is a server of any kind. Its sockets answer the events "join" and "leave", with a
// room, and "data", with their data. It keeps the events "hello", "ask" and "mute" of other
// servers, and answers "ask" alone.
type Server interface {
	Name() string
	URL() string
	// Of makes a namespace.
	Of(namespace string) error
	Emit(to Target, event string, args ...any) error
	// Call returns the first values of the answers, and what is missing, or "".
	Call(to Target, timeout time.Duration, event string, args ...any) (answers []any, missing string, err error)
	Fetch(to Target) ([]Socket, error)
	Join(to Target, rooms ...string) error
	Leave(to Target, rooms ...string) error
	Disconnect(to Target, closeSession bool) error
	ServerEmit(event string, args ...any) error
	ServerCall(event string, args ...any) (answers []any, missing string, err error)
	ServerEvents() ([]ServerEvent, error)
	// Servers is how many there are, this one included.
	Servers() (int, error)
}

// Process is a server in another process.
type Process struct {
	name, url string
	in        io.WriteCloser
	process   *os.Process

	// Guarded by mu.
	mu    sync.Mutex
	last  int
	waits map[int]chan reply
	ended error
}

type reply struct {
	ID     int             `json:"id"`
	URL    string          `json:"url"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

const limit = 20 * time.Second

// Start starts a process. It ends with the test.
func Start(t testing.TB, name string, command ...string) *Process {
	t.Helper()
	p := &Process{name: name, waits: map[int]chan reply{}}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	ready := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read(out, ready)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.in.Close()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	select {
	case p.url = <-ready:
	case <-done:
		t.Fatalf("%s has ended", name)
	case <-time.After(limit):
		t.Fatalf("%s does not start", name)
	}
	return p
}

// Kill is kill -9.
func (p *Process) Kill() { _ = p.process.Kill() }

func (p *Process) read(out io.Reader, ready chan string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue
		}
		if r.URL != "" {
			ready <- r.URL
			continue
		}
		p.mu.Lock()
		c := p.waits[r.ID]
		delete(p.waits, r.ID)
		p.mu.Unlock()
		if c != nil {
			c <- r
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = errors.New("the process has ended")
	for id, c := range p.waits {
		delete(p.waits, id)
		c <- reply{Error: p.ended.Error()}
	}
}

// Do has an operation done; see node.mjs. fields are added to it.
func (p *Process) Do(op string, result any, fields ...any) error {
	all := map[string]any{}
	for _, f := range fields {
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &all); err != nil {
			return err
		}
	}
	c := make(chan reply, 1)
	p.mu.Lock()
	if p.ended != nil {
		defer p.mu.Unlock()
		return p.ended
	}
	p.last++
	all["id"], all["op"] = p.last, op
	line, err := json.Marshal(all)
	if err == nil {
		p.waits[p.last] = c
		_, err = p.in.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case r := <-c:
		if r.Error != "" {
			return errors.New(r.Error)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-time.After(limit):
		return fmt.Errorf("%s does not answer %s", p.name, op)
	}
}

// NodeEmitter is @socket.io/redis-emitter, or that of another bus, in a process of node.mjs.
func (p *Process) NodeEmitter(title string) *Emitter {
	do := func(what string, to Target, m more) error {
		m["what"] = what
		return p.Do("emitter", nil, to, m)
	}
	return &Emitter{
		Server: p, Title: title,
		DoEmit: func(to Target, event string, args ...any) error {
			return do("emit", to, more{"event": event, "args": packAll(args), "volatile": to.Volatile})
		},
		DoJoin:       func(to Target, rooms ...string) error { return do("join", to, more{"names": rooms}) },
		DoLeave:      func(to Target, rooms ...string) error { return do("leave", to, more{"names": rooms}) },
		DoDisconnect: func(to Target, closing bool) error { return do("disconnect", to, more{"close": closing}) },
		DoServerEmit: func(event string, args ...any) error {
			return do("serverEmit", Target{}, more{"event": event, "args": packAll(args)})
		},
	}
}

type more map[string]any

// Pack puts {"$bin": …} in the place of binary.
func Pack(v any) any {
	switch v := v.(type) {
	case []byte:
		return more{"$bin": base64.StdEncoding.EncodeToString(v)}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = Pack(v[i])
		}
		return list
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = Pack(x)
		}
		return m
	}
	return v
}

// Unpack is the opposite.
func Unpack(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = Unpack(v[i])
		}
	case map[string]any:
		if s, ok := v["$bin"].(string); ok && len(v) == 1 {
			b, _ := base64.StdEncoding.DecodeString(s)
			return b
		}
		for k := range v {
			v[k] = Unpack(v[k])
		}
	}
	return v
}

func unpackAll(list []any) []any { Unpack(list); return list }

func packAll(list []any) []any {
	if list == nil {
		return []any{}
	}
	return Pack(list).([]any)
}

// Name is what kind of server it is.
func (p *Process) Name() string { return p.name }

// URL is where clients connect.
func (p *Process) URL() string { return p.url }

// Of makes a namespace.
func (p *Process) Of(namespace string) error { return p.Do("of", nil, more{"nsp": namespace}) }

// Emit emits an event.
func (p *Process) Emit(to Target, event string, args ...any) error {
	return p.Do("emit", nil, to, more{"event": event, "args": packAll(args)})
}

type answers struct {
	Answers []any  `json:"answers"`
	Missing string `json:"missing"`
}

// Call emits an event and waits for answers.
func (p *Process) Call(to Target, timeout time.Duration, event string, args ...any) ([]any, string, error) {
	var a answers
	err := p.Do("call", &a, to, more{"event": event, "args": packAll(args), "timeout": timeout.Milliseconds()})
	return unpackAll(a.Answers), a.Missing, err
}

// Fetch returns sockets of all servers.
func (p *Process) Fetch(to Target) (list []Socket, err error) {
	err = p.Do("fetch", &list, to)
	return list, err
}

// Join has sockets join rooms.
func (p *Process) Join(to Target, rooms ...string) error {
	return p.Do("join", nil, to, more{"names": rooms})
}

// Leave has sockets leave rooms.
func (p *Process) Leave(to Target, rooms ...string) error {
	return p.Do("leave", nil, to, more{"names": rooms})
}

// Disconnect disconnects sockets.
func (p *Process) Disconnect(to Target, closeSession bool) error {
	return p.Do("disconnect", nil, to, more{"close": closeSession})
}

// ServerEmit sends an event to the other servers.
func (p *Process) ServerEmit(event string, args ...any) error {
	return p.Do("serverEmit", nil, more{"event": event, "args": packAll(args)})
}

// ServerCall sends an event to the other servers, and waits for their answers.
func (p *Process) ServerCall(event string, args ...any) ([]any, string, error) {
	var a answers
	err := p.Do("serverCall", &a, more{"event": event, "args": packAll(args)})
	return unpackAll(a.Answers), a.Missing, err
}

// ServerEvents are the events that have come from other servers.
func (p *Process) ServerEvents() (list []ServerEvent, err error) {
	err = p.Do("serverEvents", &list)
	for _, e := range list {
		unpackAll(e.Args)
	}
	return list, err
}

// Servers is how many servers there are.
func (p *Process) Servers() (n int, err error) {
	err = p.Do("servers", &n)
	return n, err
}

// GoEmitter is an emitter beside a server.
func GoEmitter(s Server, e cluster.Emitter) *Emitter {
	ctx := context.Background()
	at := func(to Target) cluster.Emitter {
		op := e.Of(to.Namespace).To(to.Rooms...).Except(to.Except...)
		if to.Volatile {
			op = op.Volatile()
		}
		return op
	}
	return &Emitter{
		Server: s, Title: "Go's emitter",
		DoEmit: func(to Target, event string, args ...any) error {
			return at(to).Emit(ctx, event, args...)
		},
		DoJoin:  func(to Target, rooms ...string) error { return at(to).Join(ctx, rooms...) },
		DoLeave: func(to Target, rooms ...string) error { return at(to).Leave(ctx, rooms...) },
		DoDisconnect: func(to Target, closing bool) error {
			if closing {
				return at(to).CloseSession(ctx)
			}
			return at(to).Disconnect(ctx)
		},
		DoServerEmit: func(event string, args ...any) error { return e.ServerSideEmit(ctx, event, args...) },
	}
}

// Near is a server of Sockeye's.
type Near struct {
	*sockeye.Server
	name, url string

	mu     sync.Mutex
	events []ServerEvent
}

// NewNear starts one with an adapter. It ends with the test.
func NewNear(t testing.TB, name string, a broadcast.Adapter) *Near {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := &Near{Server: srv, name: name}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
	})
	others := srv.OfFunc(func(string, json.RawMessage) bool { return true })
	srv.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	others.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	srv.On("leave", func(s *sockeye.Socket, room string) { s.Leave(room) })
	srv.On("data", func(s *sockeye.Socket, data map[string]any) { s.SetData(data) })
	for _, event := range []string{"hello", "ask", "mute"} {
		srv.OnServerSide(event, func(e *sockeye.ServerEvent) {
			args := make([]any, e.Len())
			ptrs := make([]any, len(args))
			for i := range args {
				ptrs[i] = &args[i]
			}
			if err := e.Decode(ptrs...); err != nil {
				t.Error(err)
			}
			n.mu.Lock()
			n.events = append(n.events, ServerEvent{event, args})
			n.mu.Unlock()
			if event == "ask" {
				_ = e.Ack(map[string]any{"node": args[0]})
			}
		})
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.url = "http://" + addr.String()
	return n
}

// Name is what kind of server it is.
func (n *Near) Name() string { return n.name }

// URL is where clients connect.
func (n *Near) URL() string { return n.url }

// Of makes a namespace.
func (n *Near) Of(namespace string) error { n.Server.Of(namespace); return nil }

func (n *Near) target(to Target) sockeye.Operator {
	ns := n.Namespace
	if to.Namespace != "" && to.Namespace != "/" {
		ns = n.Server.Of(to.Namespace)
	}
	op := ns.All()
	if len(to.Rooms) > 0 {
		op = ns.To(to.Rooms...)
	}
	if len(to.Except) > 0 {
		op = op.Except(to.Except...)
	}
	if to.Volatile {
		op = op.Volatile()
	}
	return op
}

// Emit emits an event.
func (n *Near) Emit(to Target, event string, args ...any) error {
	return n.target(to).Emit(event, args...)
}

// missing is what an error says is missing.
func missing(err error) (string, error) {
	m := new(sockeye.MissingError)
	if errors.As(err, &m) {
		return m.Error(), nil
	}
	return "", err
}

// Call emits an event and waits for answers.
func (n *Near) Call(to Target, timeout time.Duration, event string, args ...any) ([]any, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	list, err := n.target(to).Call(ctx, event, args...)
	var values []any
	for _, a := range list {
		var v any
		if err := a.Args.Decode(&v); err != nil {
			return nil, "", err
		}
		values = append(values, v)
	}
	text, err := missing(err)
	return values, text, err
}

// Fetch returns sockets of all servers.
func (n *Near) Fetch(to Target) ([]Socket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	infos, err := n.target(to).FetchSockets(ctx)
	var list []Socket
	for _, i := range infos {
		s := Socket{ID: i.ID, Rooms: i.Rooms}
		_ = json.Unmarshal(i.Data, &s.Data)
		list = append(list, s)
	}
	return list, err
}

// Join has sockets join rooms.
func (n *Near) Join(to Target, rooms ...string) error { return n.target(to).Join(rooms...) }

// Leave has sockets leave rooms.
func (n *Near) Leave(to Target, rooms ...string) error { return n.target(to).Leave(rooms...) }

// Disconnect disconnects sockets.
func (n *Near) Disconnect(to Target, closeSession bool) error {
	if closeSession {
		return n.target(to).CloseSession()
	}
	return n.target(to).Disconnect()
}

// ServerEmit sends an event to the other servers.
func (n *Near) ServerEmit(event string, args ...any) error { return n.ServerSideEmit(event, args...) }

// ServerCall sends an event to the other servers, and waits for their answers.
func (n *Near) ServerCall(event string, args ...any) ([]any, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := n.CallServers(ctx, event, args...)
	var values []any
	for _, a := range list {
		var v any
		if err := a.Decode(&v); err != nil {
			return nil, "", err
		}
		values = append(values, v)
	}
	text, err := missing(err)
	return values, text, err
}

// ServerEvents are the events that have come from other servers.
func (n *Near) ServerEvents() ([]ServerEvent, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]ServerEvent(nil), n.events...), nil
}

// Servers is how many servers there are.
func (n *Near) Servers() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return n.Server.Servers(ctx)
}
