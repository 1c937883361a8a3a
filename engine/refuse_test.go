package engine

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestPanicsOfUserFunctions: a panic in any of them, and one that ends its goroutine,
// costs what it was asked about, is counted, and leaves nothing behind.
func TestPanicsOfUserFunctions(t *testing.T) {
	for _, exit := range []bool{false, true} {
		armed := true
		fault := func() {
			switch {
			case !armed:
			case exit:
				runtime.Goexit()
			default:
				panic("on purpose")
			}
		}
		for name, c := range map[string]struct {
			cfg   Config
			lines string
			want  int // the status; 0: the handshake is answered
		}{
			"AllowOrigin":  {Config{AllowOrigin: func(string, *Request) bool { fault(); return true }}, "Origin: https://a\r\n", 403},
			"AllowRequest": {Config{AllowRequest: func(*Request) error { fault(); return nil }}, "", 403},
			"Middleware": {Config{Middleware: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault(); next.ServeHTTP(w, r) })
			}}, "", 403},
			"GenerateID": {Config{GenerateID: func(*Request) string { fault(); return NewID() }}, "", 400},
			"Headers":    {Config{Headers: func(http.Header, *Request, bool) { fault() }}, "", 200},
			"OnRefused":  {Config{OnRefused: func(*Request, Refusal) { fault() }}, "Origin: https://evil\r\n", 403},
		} {
			for _, websocket := range []bool{false, true} {
				armed = true
				c.cfg.Logger = slog.New(slog.DiscardHandler)
				w := newCrowd(t, c.cfg)
				request := "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n" + c.lines
				if websocket {
					request = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + c.lines
				}
				p := w.net.Dial(0)
				p.Write([]byte(request + "\r\n"))
				done := make(chan struct{})
				go func() { // a Goexit ends it, as it ends a loop's
					defer close(done)
					w.net.Group.Loop(0).Claim()
					w.net.Group.Loop(1).Claim()
					w.net.RunUntil(5*time.Second, func() bool { return len(w.engine.deciding) == 0 && w.net.Idle() })
				}()
				<-done
				w.net.Group.Loop(0).Claim()
				w.net.Group.Loop(1).Claim()
				w.net.RunUntil(5*time.Second, func() bool { return len(w.engine.deciding) == 0 && (p.Ended() || w.net.Idle()) })
				what := fmt.Sprintf("%s, websocket %v, Goexit %v", name, websocket, exit)
				if got := w.engine.Stats().Panics; got != 1 {
					t.Errorf("%s: %d panics are counted", what, got)
				}
				answer := string(p.Read())
				status := 0
				_, _ = fmt.Sscanf(answer, "HTTP/1.1 %d", &status)
				want := c.want
				if websocket && want == 200 {
					want = 101
				}
				if websocket && (name == "AllowRequest" || name == "Middleware") {
					want = 400
				}
				onLoop := name != "AllowRequest" && name != "Middleware"
				if exit && onLoop {
					if !p.Closed() && status == 0 {
						t.Errorf("%s: the connection waits for ever", what)
					}
				} else if status != want {
					t.Errorf("%s: %d, want %d", what, status, want)
				}
				w.net.Advance(time.Minute) // a session whose handshake could not be answered has no pong
				if status != 200 && status != 101 && w.engine.sessions.len() != 0 {
					t.Errorf("%s: %d sessions are left", what, w.engine.sessions.len())
				}
				// The next one is served.
				armed = false
				q := w.net.Dial(0)
				q.Write([]byte(request + "\r\n"))
				w.net.RunUntil(5*time.Second, func() bool { return len(w.engine.deciding) == 0 && w.net.Idle() })
				status = 0
				_, _ = fmt.Sscanf(string(q.Read()), "HTTP/1.1 %d", &status)
				if right := status == 200 || status == 101; right != (name != "OnRefused") {
					t.Errorf("%s: the next one is answered %d", what, status)
				}
			}
		}
	}
}

// TestTold: every refusal and every cut has one line at Debug that tells why, is in
// Stats, and says nothing when Debug is off.
func TestTold(t *testing.T) {
	var log wiretest.Output
	s := &script{peers: map[string]*scriptPeer{}}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.cfg.Logger = logger
	s.logger = logger
	s.start(Config{})
	for _, c := range []struct {
		commands string
		why      string // in the line
		count    func(Stats) uint64
	}{
		{"get A EIO=4", "transport \\\"\\\" is unknown", func(s Stats) uint64 { return s.Refused }},
		{"get A EIO=4&transport=polling&sid=x", "sid \\\"x\\\" is unknown", func(s Stats) uint64 { return s.Refused }},
		{"post A EIO=4&transport=polling 4x", "a handshake is a GET", func(s Stats) uint64 { return s.Refused }},
		{"get A EIO=4&transport=websocket", "without its Upgrade and Connection fields", func(s Stats) uint64 { return s.Refused }},
		{"get A EIO=3&transport=polling", "AllowEIO3", func(s Stats) uint64 { return s.Refused }},
		{"header Origin: https://evil|get A EIO=4&transport=polling|header", "Origin \\\"https://evil\\\" is not allowed", func(s Stats) uint64 { return s.ForeignOrigins }},
		{"get A EIO=4&transport=polling|get A EIO=4&transport=polling&sid=SID|get B EIO=4&transport=polling&sid=SID", "two polls at once", func(s Stats) uint64 { return s.TransportErrors }},
		{"get A EIO=4&transport=polling|part B EIO=4&transport=polling&sid=SID 9 \"4\"|part C EIO=4&transport=polling&sid=SID 9 \"4\"", "two POSTs at once", func(s Stats) uint64 { return s.TransportErrors }},
		{"get A EIO=4&transport=polling|part B EIO=4&transport=polling&sid=SID 9 \"4\"|reset B", "data request connection closed prematurely", func(s Stats) uint64 { return s.TransportErrors }},
		{"get A EIO=4&transport=polling|get A EIO=4&transport=polling&sid=SID|reset A", "poll connection closed prematurely", func(s Stats) uint64 { return s.TransportErrors }},
		{"get A EIO=4&transport=polling|post B EIO=4&transport=polling&sid=SID 2", "has sent a ping", func(s Stats) uint64 { return s.TransportErrors }},
		{"get A EIO=4&transport=polling|post B EIO=4&transport=polling&sid=SID 9", "reason=\"parse error\"", func(s Stats) uint64 { return s.ParseErrors }},
		{"get A EIO=4&transport=polling|post B EIO=4&transport=polling&sid=SID \"\"", "a POST without a packet", func(s Stats) uint64 { return s.ParseErrors }},
		{"get A EIO=4&transport=polling|post B EIO=4&transport=polling&sid=SID " + strings.Repeat("4", 101), "a POST is larger than MaxPayload", func(s Stats) uint64 { return s.TooLarge }},
		{"ws W EIO=4&transport=websocket|text W 9", "reason=\"parse error\"", func(s Stats) uint64 { return s.ParseErrors }},
		{"ws W EIO=4&transport=websocket|text W 2", "has sent a ping", func(s Stats) uint64 { return s.TransportErrors }},
		{"ws W EIO=4&transport=websocket|reset W", "its WebSocket failed", func(s Stats) uint64 { return s.TransportErrors }},
		{"ws W EIO=4&transport=websocket|tick 25s|tick 20s", "its ping was not answered in time", func(s Stats) uint64 { return s.PingTimeouts }},
		{"get A EIO=4&transport=polling|ws W EIO=4&transport=websocket&sid=SID|text W 4x", "neither a probe nor the upgrade packet", func(s Stats) uint64 { return s.FailedUpgrades }},
		{"get A EIO=4&transport=polling|ws W EIO=4&transport=websocket&sid=SID|tick 10s", "within UpgradeTimeout", func(s Stats) uint64 { return s.FailedUpgrades }},
	} {
		before := c.count(s.engine.Stats())
		log.Take()
		for i, name := range []string{"A", "B", "C", "W"} {
			delete(s.peers, name)
			_ = i
		}
		for command := range strings.SplitSeq(c.commands, "|") {
			if err := s.do(strings.ReplaceAll(command, "SID", fmt.Sprintf("sid%d", s.ids))); err != nil {
				t.Fatal(command, err)
			}
		}
		got := log.Take()
		n := 0
		for line := range strings.Lines(got) {
			if strings.Contains(line, "level=DEBUG msg=\"engine: ") {
				n++
			}
		}
		if n != 1 || !strings.Contains(got, c.why) {
			t.Errorf("%q: %d lines, want one with %q:\n%s", c.commands, n, c.why, got)
		}
		if after := c.count(s.engine.Stats()); after != before+1 {
			t.Errorf("%q: counted %d times", c.commands, after-before)
		}
		if s.last != nil && s.last.state < sessionClosing {
			s.last.Close(ForcedClose)
			s.net.Run()
		}
	}
}

// TestToldSeldom: a flood of refusals writes a few lines.
func TestToldSeldom(t *testing.T) {
	var log wiretest.Output
	e := mustNew(Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, new(echoHandler))
	n := netpolltest.New(netpoll.Config{}, Mux{e}, 1)
	p := n.Dial(0)
	for range 1000 {
		p.Write([]byte("GET /engine.io/?EIO=4&transport=no HTTP/1.1\r\nHost: h\r\n\r\n"))
	}
	n.Run()
	if lines := strings.Count(log.Take(), "\n"); e.Stats().Refused != 1000 || lines < 1 || lines > 20 {
		t.Errorf("%d lines for %d refusals", lines, e.Stats().Refused)
	}
}
