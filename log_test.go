package sockeye_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// lines is a log of which a test reads the lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// count is how many lines have all of the parts.
func (l *lines) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		n++
	}
	return n
}

func (l *lines) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}

// TestEveryCutTellsWhy: whatever ends a session or refuses its peer is told in one line
// at Debug that says why and who, and counted.
func TestEveryCutTellsWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   sockeye.Config
		sends []string
		line  string
		count func(s sockeye.Stats) uint64
	}{
		{"no packet", sockeye.Config{}, []string{"4x"}, "broke the protocol", func(s sockeye.Stats) uint64 { return s.ProtocolErrors }},
		{"not joined", sockeye.Config{}, []string{`42["e"]`}, "not joined", func(s sockeye.Stats) uint64 { return s.ProtocolErrors }},
		{"no event", sockeye.Config{}, []string{"40", `42[]`}, "broke the protocol", func(s sockeye.Stats) uint64 { return s.ProtocolErrors }},
		{"no answer", sockeye.Config{}, []string{"40", `431{}`}, "broke the protocol", func(s sockeye.Stats) uint64 { return s.ProtocolErrors }},
		{"no namespace", sockeye.Config{ConnectTimeout: 10 * time.Millisecond}, nil, "within ConnectTimeout", func(s sockeye.Stats) uint64 { return s.ConnectTimeouts }},
		{"no attachments", sockeye.Config{AttachmentTimeout: 10 * time.Millisecond}, []string{"40", `451-["e",{"_placeholder":true,"num":0}]`}, "within AttachmentTimeout", func(s sockeye.Stats) uint64 { return s.ProtocolErrors }},
		{"unknown namespace", sockeye.Config{}, []string{"40/x"}, "Invalid namespace", func(s sockeye.Stats) uint64 { return s.RefusedNamespaces }},
		{"refused", sockeye.Config{}, []string{"40/closed"}, "only on Sundays", func(s sockeye.Stats) uint64 { return s.RefusedNamespaces }},
		{"unknown event", sockeye.Config{}, []string{"40", `42["nobody"]`}, "event=nobody", func(s sockeye.Stats) uint64 { return s.UnhandledEvents }},
		{"mailbox", sockeye.Config{MailboxEvents: 1}, []string{"40", `42["block"]`, `42["block"]`, `42["block"]`}, "is not read until", func(s sockeye.Stats) uint64 { return s.PausedForMailbox }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
				log, block := &lines{}, make(chan struct{})
				c.cfg.Logger = log.logger(level)
				addr, srv := serve(t, c.cfg, func(srv *sockeye.Server) {
					srv.On("block", func() { <-block })
					srv.Of("/closed").OnConnect(func(*sockeye.Socket) error {
						return &sockeye.ConnectError{Message: "only on Sundays"}
					})
				})
				t.Cleanup(func() { close(block) })
				w := open(t, addr)
				for _, text := range c.sends {
					if w.Write(text); text == "40" {
						w.Expect("40{*")
					}
				}
				eventually(t, func() bool { return c.count(srv.Stats()) > 0 })
				want := 0
				if level == slog.LevelDebug {
					want = 1
					eventually(t, func() bool { return log.count(c.line) > 0 })
				}
				if n := log.count(c.line, "sid=", "peer="); n < want || n > 2*want || log.count("level=DEBUG") < want {
					t.Errorf("%v: %d lines, want %d:\n%s", level, n, want, log.text.String())
				}
			}
		})
	}
}

// TestFloodDoesNotFillTheLog: a peer that brings about as many faults as it can writes
// a few lines, at every level; all are counted.
func TestFloodDoesNotFillTheLog(t *testing.T) {
	const flood = 500
	log := &lines{}
	addr, srv := serve(t, sockeye.Config{Logger: log.logger(slog.LevelDebug)}, func(srv *sockeye.Server) {
		srv.On("number", func(int) {})
		srv.On("fails", func() error { return errors.New("on purpose") })
		srv.On("panics", func() { panic("on purpose") })
	})
	w := open(t, addr)
	w.Write("40")
	w.Expect("40{*")
	for range flood {
		for _, text := range []string{`42["number","x"]`, `42["fails"]`, `42["panics"]`, `42["nobody"]`} {
			w.Write(text)
		}
	}
	eventually(t, func() bool {
		s := srv.Stats()
		return s.DecodeErrors == flood && s.HandlerErrors >= 2*flood && s.HandlerPanics == flood && s.UnhandledEvents == flood
	})
	for _, part := range []string{"event=number", "event=fails", "event=panics", "event=nobody"} {
		if n := log.count(part); n < 1 || n > flood/4 {
			t.Errorf("%s: %d lines for %d faults", part, n, flood)
		}
	}
}

// TestSlowPeerIsTold: an emit that its peer makes wait for too long.
func TestSlowPeerIsTold(t *testing.T) {
	log := &lines{}
	got := make(chan error, 1)
	cfg := sockeye.Config{Logger: log.logger(slog.LevelDebug), EmitTimeout: 10 * time.Millisecond}
	addr, srv := serve(t, cfg, func(srv *sockeye.Server) {
		srv.On("flood", func(s *sockeye.Socket) {
			for {
				if err := s.Emit("e", strings.Repeat("x", 100_000)); err != nil {
					got <- err
					return
				}
			}
		})
	})
	p := wiretest.OpenPoll(t, addr)
	p.Post("40", 200, "ok")
	p.Get()
	p.Post(`42["flood"]`, 200, "ok")
	if err := within(t, got); !errors.Is(err, sockeye.ErrQueueFull) {
		t.Error(err)
	}
	if n := log.count("reads too slowly", "queued="); n != 1 || srv.Stats().EmitTimeouts != 1 {
		t.Errorf("%d lines, %d counted:\n%s", n, srv.Stats().EmitTimeouts, log.text.String())
	}
	_ = srv.Shutdown(context.Background())
}

// TestPeersThatGoAreNoFaults: a handler that cannot answer, emit or ask because its peer
// has gone, or does not answer, is no fault of this side.
func TestPeersThatGoAreNoFaults(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		log := &lines{}
		addr, srv := serve(t, sockeye.Config{Logger: log.logger(level), AckTimeout: 10 * time.Millisecond}, func(srv *sockeye.Server) {
			srv.On("answer", func(s *sockeye.Socket) int { <-s.Context().Done(); return 1 })
			srv.On("emit", func(s *sockeye.Socket) error { <-s.Context().Done(); return s.Emit("x") })
			srv.On("ask", func(s *sockeye.Socket) error { _, err := s.Call(context.Background(), "question"); return err })
		})
		for i, event := range []string{"answer", "emit", "ask"} {
			w := wiretest.Connect(t, addr)
			w.Write(`420["` + event + `"]`)
			if event == "ask" {
				w.Expect(`42*`)
				w.Expect(`430[{"error":"internal error"}]`)
			}
			eventually(t, func() bool { return srv.Stats().EventsIn > uint64(i) })
			_ = w.Conn.Close()
		}
		eventually(t, func() bool { return srv.Stats().HandlerErrors == 3 })
		want := 0
		if level == slog.LevelDebug {
			want = 3
			eventually(t, func() bool { return log.count("for a peer's sake", "level=DEBUG", "event=") == want })
		}
		if n := log.count(""); n != want && level == slog.LevelInfo || log.count("level=ERROR") > 0 {
			t.Errorf("%v: %d lines:\n%s", level, n, log.text.String())
		}
	}
}
