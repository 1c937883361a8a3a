//go:build unix

package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestForwardDrain: who shuts a server down that passes WebSockets on ends them as it ends its
// own: what their owner has sent arrives, then a close frame. The owner hears of it as of a
// transport that has been closed, and its own sockets live on.
func TestForwardDrain(t *testing.T) {
	type end struct {
		id     string
		reason sockeye.Reason
	}
	ends := make(chan end, 10)
	sockets := make(chan *sockeye.Socket, 10)
	owner, wrong, _ := pair(t, nil, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) { ends <- end{s.ID(), r} })
	})
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	far := within(t, sockets)
	near := wiretest.Connect(t, owner.addr)
	within(t, sockets)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
	text := strings.Repeat("x", 200_000) // more than waits for the client at the one that passes on
	for range 4 {
		if err := far.Emit("late", text); err != nil {
			t.Fatal(err)
		}
	}
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	go func() { shut <- wrong.Shutdown(ctx) }()
	eventually(t, func() bool { // it has begun
		conn, err := net.Dial("tcp", wrong.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	for range 4 {
		if got, _, err := w.Read(); string(got) != `42["late","`+text+`"]` {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if _, _, err := w.Read(); !errors.Is(err, wiretest.ErrClosed{Code: 1001}) {
		t.Errorf("it ends with %v", err)
	}
	_ = w.Conn.Close()
	if err := within(t, shut); err != nil {
		t.Error(err)
	}
	if e := within(t, ends); e != (end{far.ID(), sockeye.TransportClose}) {
		t.Errorf("%+v", e)
	}
	near.Write("40/unknown,")
	near.Expect(`44/unknown,{"message":"Invalid namespace"}`)
}

// TestForwardDrainHung: an owner that does not answer, and a client that does not read, are
// not waited for.
func TestForwardDrainHung(t *testing.T) {
	owner, wrong, c := pair(t, func(_ int, cfg *sockeye.Config) { cfg.CloseTimeout = 200 * time.Millisecond }, nil)
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
	c.gate.Lock() // the owner hears nothing, and says nothing
	defer c.gate.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	if err := wrong.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	w.ExpectClosed()
}

// TestForwardDrainPoll: a poll that waits by way of a server that is shut down is answered by
// its owner, at once, and the session goes on by other servers.
func TestForwardDrainPoll(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 2)
	owner, wrong, c := pair(t, nil, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	direct := wiretest.ConnectPoll(t, owner.addr)
	p := at(direct, wrong)
	s := within(t, sockets)
	late := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	lateSocket := within(t, sockets)
	before := owner.Stats().Net.BytesIn
	answer := func(p *wiretest.Poll) <-chan string {
		got := make(chan string, 1)
		go func() {
			resp, err := http.Get(p.URL)
			if err != nil {
				got <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			got <- fmt.Sprintln(resp.StatusCode, string(b), resp.Close, err)
		}()
		return got
	}
	first := answer(p)
	eventually(t, func() bool { return owner.Stats().Net.BytesIn > before+100 }) // it has the poll
	c.gate.Lock()                                                                // a second one is on its way meanwhile
	second := answer(late)
	eventually(t, func() bool { return wrong.Stats().Net.Forwarded == 2 })
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	begun := time.Now()
	go func() { shut <- wrong.Shutdown(ctx) }()
	eventually(t, func() bool { return !wrong.Health().Ready })
	c.gate.Unlock()
	for i, got := range []<-chan string{first, second} {
		if got := within(t, got); got != "200 6 true <nil>\n" {
			t.Errorf("poll %d: %q", i, got)
		}
	}
	if err := within(t, shut); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 4*time.Second { // CloseTimeout is 5 s
		t.Errorf("it took %v", d)
	}
	for i, s := range []*sockeye.Socket{s, lateSocket} {
		if err := s.Emit("on", i); err != nil {
			t.Error(err)
		}
	}
	if status, body := direct.Get(); status != 200 || body != `42["on",0]` {
		t.Errorf("%d %q", status, body)
	}
	if status, body := at(late, owner).Get(); status != 200 || body != `42["on",1]` {
		t.Errorf("%d %q", status, body)
	}
	if n := owner.Stats().Net.BadLinks; n != 0 {
		t.Errorf("%d bad links", n)
	}
}

// TestForwardDrainMany: the servers by which clients poll are shut down one after the other,
// while all of them emit and are emitted to: each event comes once and in order, both ways, and
// no session ends.
func TestForwardDrainMany(t *testing.T) {
	const clients, wrongs = 20, 5
	sockets := make(chan *sockeye.Socket, clients)
	var emitting, ups, over atomic.Int64
	emitting.Store(1)
	servers := forwarding(t, 1+wrongs, nil, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.On("up", func(s *sockeye.Socket, k int) {
			next, _ := s.Data().(int)
			if k != next {
				t.Errorf("event %d in place of %d has come up", k, next)
			}
			s.SetData(k + 1)
			ups.Add(1)
		})
		srv.OnDisconnect(func(_ *sockeye.Socket, r sockeye.Reason) {
			if emitting.Load() != 0 {
				t.Errorf("a socket has ended: %v", r)
			}
			over.Add(1)
		})
	})
	ways := &waysTo{owner: servers[0], wrong: slices.Clone(servers[1:]), asked: map[string]uint64{}}
	type peer struct {
		c    *client.Client
		s    *sockeye.Socket
		down atomic.Int64 // events
	}
	var peers []*peer
	for range clients {
		ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
		c, err := client.Dial(ctx, "http://"+servers[0].addr, client.Config{
			Transports: []string{"polling"}, NoReconnect: true, HTTPClient: &http.Client{Transport: ways},
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := &peer{c: c, s: within(t, sockets)}
		c.On("down", func(e *client.Event) {
			var k int64
			_ = e.Decode(&k)
			if got := p.down.Add(1) - 1; got != k {
				t.Errorf("event %d in place of %d has come down", k, got)
			}
		})
		peers = append(peers, p)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent atomic.Int64
	for _, p := range peers {
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(10)) * time.Millisecond): // polls wait in between
				}
				if p.s.Emit("down", k) != nil || p.c.Emit("up", k) != nil {
					t.Error("cannot emit")
					return
				}
				sent.Add(1)
			}
		})
	}
	for _, wrong := range servers[1:wrongs] { // one stays
		at := sent.Load()
		eventually(t, func() bool { return sent.Load() > at+5*clients && wrong.Stats().Net.Forwarded > 0 })
		asked := ways.drop(wrong) // as a balancer that asks Readyz
		eventually(t, func() bool { return wrong.Stats().Net.Forwarded == asked })
		ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
		begun := time.Now()
		if err := wrong.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 4*time.Second { // CloseTimeout is 5 s
			t.Errorf("it took %v", d)
		}
		cancel()
	}
	close(stop)
	wg.Wait()
	eventually(t, func() bool {
		downs := int64(0)
		for _, p := range peers {
			downs += p.down.Load()
		}
		return downs == sent.Load() && ups.Load() == sent.Load()
	})
	emitting.Store(0)
	for _, p := range peers {
		p.c.Close()
	}
	eventually(t, func() bool { return over.Load() == clients })
}

// waysTo has handshakes go to the owner, and all else by any of the others.
type waysTo struct {
	owner node

	mu    sync.Mutex
	wrong []node
	asked map[string]uint64 // requests, by address
}

// drop gives no more requests to n, and tells how many there were.
func (w *waysTo) drop(n node) (asked uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = slices.DeleteFunc(w.wrong, func(x node) bool { return x.addr == n.addr })
	return w.asked[n.addr]
}

func (w *waysTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Has("sid") {
		r = r.Clone(r.Context())
		w.mu.Lock()
		r.URL.Host = w.wrong[rand.IntN(len(w.wrong))].addr
		w.asked[r.URL.Host]++
		w.mu.Unlock()
	}
	r.Close = true // a kept one may be closed just when it is used, as ever
	return http.DefaultTransport.RoundTrip(r)
}
