//go:build unix

package sockeye_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// node is one server of a cluster.
type node struct {
	*sockeye.Server
	addr string
}

// forwarding starts servers that pass requests on, and know each other.
func forwarding(t testing.TB, n int, change func(i int, cfg *sockeye.Config), setup func(srv *sockeye.Server)) []node {
	t.Helper()
	hub := new(adaptertest.Hub)
	var all []node
	for i := range n {
		cfg := sockeye.Config{Adapter: hub.Adapter(t, cluster.Options{}), Forward: &sockeye.Forward{}, Loops: 2}
		if change != nil {
			change(i, &cfg)
		}
		addr, srv := serve(t, cfg, setup)
		all = append(all, node{srv, addr})
	}
	for _, s := range all {
		eventually(t, func() bool { return s.Peers() == n-1 })
	}
	return all
}

// dealer is a balancer that gives each request, and each connection, to the next server.
func dealer(t testing.TB, servers []node) string {
	var next atomic.Int64
	lb := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: servers[int(next.Add(1))%len(servers)].addr})
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	t.Cleanup(lb.Close)
	return lb.URL
}

// TestForwardThroughDealer: clients work behind a balancer that knows no sessions.
func TestForwardThroughDealer(t *testing.T) {
	servers := forwarding(t, 3, nil, func(srv *sockeye.Server) {
		srv.On("echo", func(s *sockeye.Socket, b []byte) []byte { return b })
		srv.On("many", func(s *sockeye.Socket, n int) {
			for i := range n {
				_ = s.Emit("one", i)
			}
		})
	})
	url := dealer(t, servers)
	for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
		t.Run(strings.Join(transports, "+"), func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 6*wiretest.Limit)
					defer cancel()
					c, err := client.Dial(ctx, url, client.Config{Transports: transports, NoReconnect: true})
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					got := make(chan int, 100)
					c.On("one", func(e *client.Event) {
						var k int
						_ = e.Decode(&k)
						got <- k
					})
					for round := range 5 {
						want := bytes.Repeat([]byte{byte(i), byte(round)}, 5000*round)
						answer, err := c.Call(ctx, "echo", want)
						var b []byte
						if err != nil || answer.Decode(&b) != nil || !bytes.Equal(b, want) {
							t.Errorf("client %d, round %d: %d bytes, %v", i, round, len(b), err)
							return
						}
					}
					if err := c.Emit("many", 100); err != nil {
						t.Error(err)
					}
					for k := range 100 {
						select {
						case at := <-got:
							if at != k {
								t.Errorf("client %d: event %d in place of %d", i, at, k)
								return
							}
						case <-ctx.Done():
							t.Errorf("client %d: event %d has not come", i, k)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
	forwarded, failed := uint64(0), uint64(0)
	for _, s := range servers {
		n := s.Stats().Net
		forwarded, failed = forwarded+n.Forwarded, failed+n.ForwardFailures
		if n.BadLinks != 0 {
			t.Errorf("%d links were refused", n.BadLinks)
		}
	}
	if forwarded < 100 || failed > 0 {
		t.Errorf("%d requests were passed on, %d were not", forwarded, failed)
	}
	for _, s := range servers {
		eventually(t, func() bool { return s.Stats().Net.ForwardedSockets == 0 && s.Stats().Engine.Sessions == 0 })
	}
}
