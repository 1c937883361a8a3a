package sockeye_test

import (
	"context"
	"errors"
	"testing"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestAckTimeout(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	got := make(chan error, 1)
	_ = srv.Sockets()[0].Timeout(time.Millisecond).EmitWithAck(func(_ sockeye.Args, err error) { got <- err }, "ask")
	if err := within(t, got); !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Error(err)
	}
	w.Write(`43` + ackID(t, w.Expect(`42*`)) + `[]`) // late: ignored
	w.Write(`2`)
	w.ExpectClosed() // a ping from a client of version 4 ends it, so the late answer was read
}

// TestCallEndsWithItsPeer: a handler that waits in Call for a peer that goes is let
// go at once, and its worker with it.
func TestCallEndsWithItsPeer(t *testing.T) {
	const workers = 10
	failures := make(chan error, 3*workers)
	addr, srv := serve(t, sockeye.Config{MaxWorkers: workers}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			_, err := s.Call(context.Background(), "question")
			failures <- err
		})
		srv.On("askAll", func(s *sockeye.Socket) {
			_, err := s.Server().All().Call(context.Background(), "question")
			failures <- err
		})
		srv.On("echo", func(n int) int { return n })
	})
	for i := range 2 * workers {
		w := wiretest.Connect(t, addr)
		want := sockeye.ErrDisconnected
		if i%2 == 0 {
			w.Write(`42["ask"]`)
		} else {
			w.Write(`42["askAll"]`)
			want = sockeye.ErrAckTimeout
		}
		w.Expect(`42*`)
		_ = w.Conn.Close()
		if err := within(t, failures); !errors.Is(err, want) {
			t.Errorf("Call: %v, want %v", err, want)
		}
	}
	w := wiretest.Connect(t, addr)
	w.Write(`420["echo",1]`)
	w.Expect(`430[1]`)
	eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
}

// TestCallWithoutDeadline ends after Config.AckTimeout.
func TestCallWithoutDeadline(t *testing.T) {
	failures := make(chan error, 2)
	addr, _ := serve(t, sockeye.Config{AckTimeout: 20 * time.Millisecond}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			_, err := s.Call(context.Background(), "question")
			failures <- err
			_, err = s.Server().All().Call(context.Background(), "question")
			failures <- err
		})
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	for range 2 {
		if err := within(t, failures); !errors.Is(err, sockeye.ErrAckTimeout) {
			t.Errorf("Call: %v", err)
		}
	}
}

// TestCallWhereNoAnswerCanCome returns at once, and says where one can.
func TestCallWhereNoAnswerCanCome(t *testing.T) {
	type result struct {
		where string
		err   error
	}
	for _, inline := range []bool{false, true} {
		results := make(chan result, 10)
		ask := func(where string, s *sockeye.Socket) {
			_, err := s.Call(context.Background(), where)
			results <- result{where, err}
		}
		addr, _ := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
			srv.Use(func(s *sockeye.Socket) error { ask("middleware", s); return nil })
			srv.OnConnect(func(s *sockeye.Socket) error {
				ask("OnConnect", s)
				_, err := s.Server().All().Call(context.Background(), "all")
				results <- result{"all in OnConnect", err}
				return nil
			})
			srv.OnConnection(func(s *sockeye.Socket) { ask("OnConnection", s) })
			srv.On("event", func(s *sockeye.Socket) { ask("event", s) })
		})
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		w.Expect("40{*")
		w.Expect(`42*`)
		wants := []error{sockeye.ErrConnecting, sockeye.ErrConnecting, sockeye.ErrAckTimeout, nil, nil}
		if inline {
			wants[3], wants[4] = sockeye.ErrWouldBlock, sockeye.ErrWouldBlock
		} else {
			question := w.Expect(`42*`)
			w.Write("43" + ackID(t, question) + "[]")
		}
		w.Write(`42["event"]`)
		if !inline {
			question := w.Expect(`42*`)
			w.Write("43" + ackID(t, question) + "[]")
		}
		for _, want := range wants {
			if r := within(t, results); !errors.Is(r.err, want) {
				t.Errorf("inline %v, %s: %v, want %v", inline, r.where, r.err, want)
			}
		}
	}
}

// TestCallBesideAFullMailbox: the answer is behind more events than the mailbox
// takes, and arrives; a peer that is not asked is still not read on.
func TestCallBesideAFullMailbox(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan error, 1)
	addr, srv := serve(t, sockeye.Config{MailboxEvents: 10}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			close(asked)
			_, err := s.Call(context.Background(), "question")
			answered <- err
		})
		srv.On("event", func() {})
		srv.On("block", func() { <-answered })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	within(t, asked)
	question := w.Expect(`42*`)
	for range 15 {
		w.Write(`42["event"]`)
	}
	w.Write("43" + ackID(t, question) + "[]")
	if err := within(t, answered); err != nil {
		t.Errorf("Call: %v", err)
	}
	// It is paused first, and asked then.
	go func() { answered <- nil }()
	w.Write(`42["block"]`)
	for range 12 {
		w.Write(`42["event"]`)
	}
	eventually(t, func() bool { return srv.Stats().PausedForMailbox > 0 })
}

// TestQuestionThatPanics: a question whose arguments cannot be encoded is not waited for.
func TestQuestionThatPanics(t *testing.T) {
	got := make(chan error, 1)
	addr, _ := serve(t, sockeye.Config{MaxPendingAcks: 1}, func(srv *sockeye.Server) {
		srv.On("panics", func(s *sockeye.Socket) { _, _ = s.Call(context.Background(), "question", unsendable{}) })
		srv.On("asks", func(s *sockeye.Socket) { got <- s.EmitWithAck(func(sockeye.Args, error) {}, "question") })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["panics"]`)
	w.Write(`42["asks"]`)
	if err := within(t, got); err != nil {
		t.Error(err)
	}
}
