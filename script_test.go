package sockeye_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/golden"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestScripts runs the scripts of testdata/scripts: a server, its hooks and its peers,
// in memory and by a clock that the script moves on.
//
//	connect A [ROOM]   peer A connects, and OnConnect joins the room; "refused" refuses
//	emit A EVENT ARGS  A emits; ARGS is a JSON array
//	call A EVENT ARGS  A asks
//	leave A, break A   A disconnects; its connection breaks
//	to ROOM EVENT ARGS the server emits to a room, to the others of A: "but A", to all: "all"
//	own A EVENT ARGS   ... to A alone
//	ask A EVENT        ... and asks, with a callback; A answers with its name, or never: "mute"
//	join A ROOM, out A ROOM                the server moves A
//	kick A, close A    Disconnect, CloseSession
//	advance D          the clock moves on
//
// The trace is what hooks and handlers see, in order, and then what each peer has got.
// Event handlers: "echo" answers with its arguments, "fail" returns an error, "panic"
// panics, "later" answers by AckLater, "bye" disconnects its own socket.
func TestScripts(t *testing.T) {
	golden.Run(t, "testdata/scripts/*.txt", func(t *testing.T) golden.Script {
		p := &play{t: t, srv: sockeyetest.NewServer(t, sockeye.Config{PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second, AckTimeout: time.Second})}
		p.register()
		return func(command string) (string, error) {
			err := p.do(append(strings.SplitN(command, " ", 4), "", "", ""))
			return p.trace(), err
		}
	})
}

type play struct {
	t     *testing.T
	srv   *sockeyetest.Server
	order []string // of the peers
	peers map[string]*sockeyetest.Client

	mu    sync.Mutex
	lines []string
}

func (p *play) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *play) register() {
	p.peers = map[string]*sockeyetest.Client{}
	srv := p.srv.Server
	srv.Use(func(s *sockeye.Socket) error {
		var auth struct{ Name, Room string }
		_ = s.Auth(&auth)
		s.SetData(auth.Name)
		p.note("%s: Use", auth.Name)
		if auth.Room == "refused" {
			return &sockeye.ConnectError{Message: "no", Data: auth.Name}
		}
		return nil
	})
	srv.OnConnect(func(s *sockeye.Socket) error {
		var auth struct{ Name, Room string }
		_ = s.Auth(&auth)
		p.note("%s: OnConnect", auth.Name)
		if auth.Room == "" {
			return nil
		}
		return errors.Join(s.Join(auth.Room), s.Emit("joined", auth.Room))
	})
	srv.OnConnection(func(s *sockeye.Socket) { p.note("%s: OnConnection", s.Data()) })
	srv.OnDisconnecting(func(s *sockeye.Socket, r sockeye.Reason) {
		p.note("%s: OnDisconnecting, of %v", s.Data(), s.Rooms()[1:])
	})
	srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) { p.note("%s: OnDisconnect, %s", s.Data(), r) })
	srv.OnAny(func(s *sockeye.Socket, e *sockeye.Event) {
		p.note("%s: event %s, %d arguments", s.Data(), e.Name(), e.Len())
	})
	srv.OnError(func(s *sockeye.Socket, event string, err error) {
		text := err.Error()
		if pe := (*sockeye.PanicError)(nil); errors.As(err, &pe) {
			text = fmt.Sprint("panic: ", pe.Value)
		}
		p.note("%s: OnError, %s: %s", s.Data(), event, text)
	})
	srv.On("echo", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(e.Arguments()...) })
	srv.On("fail", func() (int, error) { return 0, errors.New("a secret") })
	srv.On("panic", func() int { panic("at the disco") })
	srv.On("later", func(_ *sockeye.Socket, e *sockeye.Event) error {
		answer := e.AckLater()
		return answer("late")
	})
	srv.On("bye", func(s *sockeye.Socket) { s.Disconnect() })
	srv.On("add", func(a, b int) int { return a + b })
}

func (p *play) do(f []string) error {
	args := func(text string) (list []any) {
		if text != "" && json.Unmarshal([]byte(text), &list) != nil {
			p.t.Fatalf("%q is no JSON array", text)
		}
		return list
	}
	c := p.peers[f[1]]
	socket := func() *sockeye.Socket { return c.Socket() }
	var err error
	switch f[0] {
	case "connect":
		c, err := p.srv.Dial(p.t, sockeyetest.Options{Auth: map[string]string{"name": f[1], "room": f[2]}})
		if err != nil {
			p.note("%s < refused: %v", f[1], err)
			return nil
		}
		if p.peers[f[1]] == nil {
			p.order = append(p.order, f[1])
		}
		p.peers[f[1]] = c
	case "emit":
		c.Emit(f[2], args(f[3])...)
	case "call":
		p.note("%s < answer %v", f[1], c.Call(f[2], args(f[3])...))
	case "leave":
		c.Disconnect()
	case "break":
		c.Break()
	case "to":
		op := p.srv.To(f[1])
		if f[1] == "all" {
			op = p.srv.All()
		} else if but := p.peers[strings.TrimPrefix(f[1], "but-")]; but != nil {
			op = but.Socket().Broadcast()
		}
		err = op.Emit(f[2], args(f[3])...)
	case "own":
		err = socket().Emit(f[2], args(f[3])...)
	case "ask":
		if f[3] != "mute" {
			c.Answer(func(sockeyetest.Event) []any { return []any{"I am " + f[1]} })
		}
		err = socket().EmitWithAck(func(answer sockeye.Args, err error) {
			var text string
			if err == nil {
				err = answer.Decode(&text)
			}
			p.note("%s: answer %q, %v", f[1], text, err)
		}, f[2])
	case "join":
		err = socket().Join(f[2])
	case "out":
		socket().Leave(f[2])
	case "kick":
		socket().Disconnect()
	case "close":
		socket().CloseSession()
	case "advance":
		d, err := time.ParseDuration(f[1])
		p.srv.Advance(d)
		return err
	default:
		return errors.New("unknown command")
	}
	if err != nil {
		p.note("error: %v", err)
	}
	p.srv.Settle()
	return nil
}

func (p *play) trace() string {
	for _, name := range p.order {
		for _, e := range p.peers[name].Received() {
			p.note("%s < %s %v", name, e.Name, e.Args)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, line := range p.lines {
		b.WriteString(line + "\n")
	}
	p.lines = nil
	return b.String()
}
