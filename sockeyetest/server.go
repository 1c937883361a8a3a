package sockeyetest

import (
	"context"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// Patience is how long, in real time, a call waits for handlers that block.
const Patience = 10 * time.Second

// Server is a server in memory.
type Server struct {
	*sockeye.Server

	net     *netpolltest.Net
	clients []*Client
}

// NewServer makes a server. It is closed at the end of the test. cfg.Loops
// does not count. An emit that is not as sockeye.Emits has declared it fails the test.
func NewServer(t testing.TB, cfg sockeye.Config) *Server {
	t.Helper()
	s := &Server{net: netpolltest.NewNet(2)}
	cfg.Seams = &seam.Seams{Systems: s.net.Systems()}
	cfg.TLS = s.net.TLS()
	if cfg.OnContractError == nil {
		cfg.OnContractError = func(err *sockeye.ContractError) { t.Errorf("%v", err) }
	}
	var err error
	s.Server, err = sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (s *Server) close() {
	for _, c := range s.clients {
		c.peer.Close()
	}
	s.Settle()
	done := make(chan struct{})
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		_ = s.Shutdown(ctx)
		close(done)
	}()
	s.net.RunUntil(Patience, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// Settle runs the server until it has nothing left to do; other methods do so by
// themselves. It returns false if handlers still block after Patience.
func (s *Server) Settle() bool {
	return s.net.RunUntil(Patience, func() bool {
		stats := s.Stats() // first: who decides posts before it is counted out
		busy := stats.ActiveSockets > 0 || stats.Engine.Deciding > 0
		if busy {
			for _, c := range s.clients {
				if c.answer != nil { // a handler may wait for it
					c.read()
				}
			}
		}
		return !busy && s.net.Idle()
	})
}

// Advance moves the server's clock on: pings are sent and answered, timeouts
// run out.
func (s *Server) Advance(d time.Duration) {
	end := s.net.Now() + d
	for s.net.Now() < end {
		// In steps, so that clients answer pings in time.
		s.net.Advance(min(100*time.Millisecond, end-s.net.Now()))
		s.Settle()
		for _, c := range s.clients {
			c.read()
		}
	}
	s.Settle()
}
