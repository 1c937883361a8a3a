//go:build unix

package netpoll_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// alarm is a timer with a callback.
type alarm struct {
	netpoll.Timer
	f func()
}

func (a *alarm) Expire(*netpoll.Timer) { a.f() }

// TestPanicInTimer costs that timer, and nothing else.
func TestPanicInTimer(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := upgrade(t, n, 0)
	l := n.Group.Loop(0)
	fired := 0
	var alarms []*alarm
	for i := range 10 {
		alarms = append(alarms, &alarm{f: func() {
			if fired++; i%2 == 0 {
				panic("in a timer")
			}
		}})
	}
	l.Post(func(_, _ any) {
		for _, a := range alarms {
			l.Arm(&a.Timer, a, time.Second)
		}
	}, nil, nil, 0)
	n.Advance(2 * time.Second)
	if got := n.Group.Stats().CallbackPanics; fired != 10 || got != 5 {
		t.Errorf("%d fired, %d panics counted", fired, got)
	}
	p.Write(frame(gobwas.NewTextFrame([]byte("still here"))))
	n.Run()
	expect(t, frames(t, p.Read()), "text:still here")
}

// TestHugeTimes: a time that is too long for the clock is for ever, and not at once.
func TestHugeTimes(t *testing.T) {
	const huge = time.Duration(math.MaxInt64)
	cfg := netpoll.Config{HeadTimeout: huge, BodyTimeout: huge, WriteTimeout: huge, IdleTimeout: huge, CloseTimeout: huge}
	for _, in := range []string{"", "GET", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", string(get("/")), "GET / HTTP/1.0\r\n\r\n"} {
		n := start(t, cfg, &app{}, 1)
		p := n.Dial(0)
		p.SetWindow(10)
		p.Write([]byte(in))
		for range 30 {
			n.Advance(24 * time.Hour)
		}
		if p.Closed() {
			t.Errorf("%q: closed", in)
		}
	}
}

// TestReadsBeforeLateDeadlines: after the process has been stopped, or the loop busy,
// for longer than a deadline, what peers have sent in time is read first.
func TestReadsBeforeLateDeadlines(t *testing.T) {
	for _, stop := range []time.Duration{2 * time.Second, 30 * time.Second, time.Hour} {
		a := &app{}
		n := start(t, netpoll.Config{HeadTimeout: 900 * time.Millisecond, BodyTimeout: 900 * time.Millisecond, IdleTimeout: 900 * time.Millisecond}, a, 2)
		var overdue []string
		var inTime []*netpolltest.Peer
		deadlines := map[*netpoll.Conn]*alarm{}
		a.message = func(c *netpoll.Conn, _ []byte, _ bool) { c.Loop().Stop(&deadlines[c].Timer) }
		for i := range 2 {
			good, bad := upgrade(t, n, i), upgrade(t, n, i)
			for k, c := range a.conns[len(a.conns)-2:] {
				name := []string{"good", "bad"}[k]
				deadlines[c] = &alarm{f: func() { overdue = append(overdue, name) }}
				c.Loop().Post(func(_, _ any) { c.Loop().Arm(&deadlines[c].Timer, deadlines[c], 800*time.Millisecond) }, nil, nil, 0)
			}
			inTime = append(inTime, good)
			_ = bad
		}
		head, body, idle, none := n.Dial(0), n.Dial(1), n.Dial(0), n.Dial(1)
		head.Write(get("/head")[:10])
		body.Write(post("/body", "abc")[:len(post("/body", "abc"))-1])
		idle.Write(get("/idle"))
		n.Run()
		idle.Read()
		for _, p := range inTime {
			p.Write(frame(gobwas.NewTextFrame([]byte("pong"))))
		}
		head.Write(get("/head")[10:])
		body.Write([]byte("c"))
		idle.Write(get("/next"))
		n.Skip(stop)
		n.Advance(100 * time.Millisecond)
		if !slices.Equal(overdue, []string{"bad", "bad"}) {
			t.Errorf("stopped for %v: overdue are %v", stop, overdue)
		}
		for p, want := range map[string][]byte{"/head|": head.Read(), "/body|abc": body.Read(), "/next|": idle.Read()} {
			if !bytes.HasSuffix(want, []byte(p)) {
				t.Errorf("stopped for %v: %q, want %s", stop, want, p)
			}
		}
		if !none.Closed() {
			t.Errorf("stopped for %v: a peer that has sent nothing is still there", stop)
		}
	}
}

// TestThaw: after the process has been frozen, deadlines wait for what has to be
// accepted, read and moved first, and not for long.
func TestThaw(t *testing.T) {
	n := start(t, netpoll.Config{HeadTimeout: 900 * time.Millisecond}, &app{}, 1)
	l := n.Group.Loop(0)
	answered, overdue := &alarm{}, 0
	answered.f = func() { overdue++ }
	l.Post(func(_, _ any) { l.Arm(&answered.Timer, answered, time.Second) }, nil, nil, 0)
	n.Run()
	n.Skip(2 * time.Second)
	n.Run() // what is known to the loop has been read
	for range 3 {
		n.Advance(30 * time.Millisecond)
		if overdue != 0 {
			t.Fatal("the deadline was over before what was under way could arrive")
		}
	}
	n.Advance(30 * time.Millisecond)
	if overdue != 1 {
		t.Errorf("120 ms after the process has gone on, the deadline has fired %d times", overdue)
	}
}

// TestReadsBeforeSlightlyLateDeadlines: the same where the loop has only been busy for
// a moment in which a deadline came: what had arrived before it was in time.
func TestReadsBeforeSlightlyLateDeadlines(t *testing.T) {
	for _, late := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 240 * time.Millisecond} {
		n := start(t, netpoll.Config{HeadTimeout: time.Second}, &app{}, 1)
		p := n.Dial(0)
		p.Write(get("/head")[:10])
		n.Advance(990 * time.Millisecond)
		p.Write(get("/head")[10:]) // 10 ms before its deadline
		n.Skip(10*time.Millisecond + late)
		n.Run()
		if out := p.Read(); !bytes.HasSuffix(out, []byte("/head|")) {
			t.Errorf("%v late: %.20q", late, out)
		}
	}
}

// TestPongWhileBlocked: once the peer reads again, the latest of its pings is answered
// (RFC 6455 sections 5.5.2 and 5.5.3).
func TestPongWhileBlocked(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := upgrade(t, n, 0)
	p.SetWindow(100)
	big := strings.Repeat("x", 500)
	p.Write(frame(gobwas.NewTextFrame([]byte(big)))) // its echo does not fit
	n.Run()
	for _, payload := range []string{"first", "second", "latest"} {
		p.Write(frame(gobwas.NewPingFrame([]byte(payload))))
		n.Run()
	}
	p.Write(frame(gobwas.NewTextFrame([]byte("behind"))))
	n.Run()
	var out []byte
	for range 20 {
		out = append(out, p.Read()...)
		n.Run()
	}
	got := frames(t, append(out, p.Read()...))
	slices.Sort(got) // where it stands among the others is not said
	expect(t, got, "pong:latest", "text:behind", "text:"+big)

	// And those after it at once.
	p.SetWindow(-1)
	p.Write(frame(gobwas.NewPingFrame([]byte("again"))))
	n.Run()
	expect(t, frames(t, p.Read()), "pong:again")
	if n.Group.Stats().MemoryBytes != 0 {
		t.Errorf("%d bytes are charged", n.Group.Stats().MemoryBytes)
	}
}

// TestUpgradeLater: what a peer has sent behind its request, before a late Upgrade, is
// handled without waiting for more.
func TestUpgradeLater(t *testing.T) {
	for _, size := range []int{2, 60_000, 300_000} {
		var waiting *netpoll.Conn
		var request *http1.Request
		var got []string
		a := &app{}
		a.request = func(c *netpoll.Conn, r *http1.Request) { waiting, request = c, r.Clone() }
		a.message = func(_ *netpoll.Conn, data []byte, _ bool) { got = append(got, string(data)) }
		n := start(t, netpoll.Config{}, a, 1)
		p := n.Dial(0)
		p.Write([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		first := strings.Repeat("h", size)
		p.Write(frame(gobwas.NewTextFrame([]byte(first))))
		n.Run()
		p.Write(frame(gobwas.NewTextFrame([]byte("second"))))
		n.Run()
		if len(got) > 0 {
			t.Fatalf("handled before the upgrade: %.20q", got)
		}
		n.Group.Loop(0).Post(func(_, _ any) {
			if err := waiting.Upgrade(request, nil); err != nil {
				t.Error(err)
			}
		}, nil, nil, 0)
		n.Run()
		if !slices.Equal(got, []string{first, "second"}) {
			t.Errorf("%d bytes: %d messages were handled", size, len(got))
		}
	}
}

// TestRefusals: a refusal has a Date, and no content for a HEAD request (RFC 9110
// sections 6.6.1 and 9.3.2).
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct{ in, status string }{
		{"HEAD /other HTTP/1.1\r\nHost: h\r\n\r\n", "404"},
		{"GET /other HTTP/1.1\r\nHost: h\r\n\r\n", "404"},
		{"GET /mine/a HTTP/1.1\r\n\r\n", "400"},
		{"GET /" + long + " HTTP/1.1\r\nHost: h\r\n\r\n", "414"},
		{"GET /mine/a HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\n\r\n", "431"},
		{"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", "4"},
		{"HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\n", "4"},
		{"POST /mine/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "408"},
		{"HEAD /mine/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "408"},
	} {
		n := startOf(netpoll.Config{Logger: quiet}, &mine{})
		p := n.Dial(0)
		p.Write([]byte(c.in))
		n.Advance(31 * time.Second)
		head, content, ok := strings.Cut(string(p.Read()), "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "HTTP/1.1 "+c.status) || !strings.Contains(head, "\r\nDate: ") || !strings.HasSuffix(head[strings.Index(head, "\r\nDate: "):][:37], " GMT") {
			t.Errorf("%.40q: %q", c.in, head)
		}
		if isHead := strings.HasPrefix(c.in, "HEAD"); isHead == (content != "") || isHead && !strings.Contains(head, "Content-Length: ") {
			t.Errorf("%.40q: %q, and then %q", c.in, head, content)
		}
	}
}

// TestConfigFaults: New tells every fault of its configuration, and panics for none.
func TestConfigFaults(t *testing.T) {
	_, err := netpoll.New(netpoll.Config{
		Loops: -1, MaxConns: -1, MaxBodyBytes: -1, MaxMessageBytes: math.MaxInt, MaxQueuedBytes: -1, MaxMemory: -1, MaxMessagesPerSecond: 70_000,
		MaxPostedJobs: -1, MaxFallback: -1, MaxHeadBytes: -1, MinRate: -1, CloseTimeout: -1, PerAddress: netpoll.AddressLimits{Conns: -1, HandshakesPerSecond: -1, MessagesPerSecond: -1},
	}, &app{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range strings.Fields("Loops MaxConns MaxBodyBytes MaxMessageBytes MaxQueuedBytes MaxMemory MaxMessagesPerSecond MaxPostedJobs " +
		"MaxFallback MaxHeadBytes MinRate CloseTimeout PerAddress.Conns PerAddress.HandshakesPerSecond PerAddress.MessagesPerSecond") {
		if !strings.Contains(err.Error(), "Config."+field+" ") {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
	if all, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); !ok || len(all.Unwrap()) != 15 {
		t.Errorf("want 15 faults: %v", err)
	}
}

// TestContradictingLimits: a limit that another one makes useless is a fault, and so
// is a time without a unit.
func TestContradictingLimits(t *testing.T) {
	for field, cfg := range map[string]netpoll.Config{
		"MaxRequestLineBytes": {MaxRequestLineBytes: 4096, MaxHeadBytes: 1024},
		"MaxQueuedBytes":      {MaxQueuedBytes: 4096, MaxMemory: 1024},
		"MaxBodyBytes":        {MaxBodyBytes: 4096, MaxMemory: 1024},
		"MaxMessageBytes":     {MaxMessageBytes: 4096, MaxMemory: 1024},
		"HeadTimeout":         {HeadTimeout: 10},
		"BodyTimeout":         {BodyTimeout: 30},
		"WriteTimeout":        {WriteTimeout: 60},
		"IdleTimeout":         {IdleTimeout: 75},
		"CloseTimeout":        {CloseTimeout: 5},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "netpoll: Config."+field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, cfg := range []netpoll.Config{{}, {MaxHeadBytes: 1024}, {HeadTimeout: -1, IdleTimeout: time.Millisecond}, {MaxMemory: 1 << 20}} {
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}
