package bench

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// serve starts a server whose sockets join "all", and answers echo.
func serve(b testing.TB, cfg sockeye.Config) (addr string, srv *sockeye.Server) {
	b.Helper()
	var err error
	srv, err = sockeye.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("all") })
	srv.On("echo", func(s *sockeye.Socket, text string) { _ = s.Emit("echo", text) })
	a, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
	})
	return a.String(), srv
}

// BenchmarkBroadcast sends 100 bytes to a room and waits until all have it. An
// op is one broadcast; the clients' reading is part of the CPU time.
func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			addr, srv := serve(b, sockeye.Config{})
			got := make(chan struct{}, 4*n)
			for range n {
				w := wiretest.Connect(b, addr)
				go func() {
					for {
						if _, _, err := w.Read(); err != nil {
							return
						}
						got <- struct{}{}
					}
				}()
			}
			text := string(make([]byte, 100))
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				_ = srv.To("all").Emit("news", text)
				for range n {
					<-got
				}
			}
			deliveries := float64(b.N) * float64(n)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
			b.ReportMetric(float64((cpu()-start).Nanoseconds())/deliveries, "cpu-ns/delivery")
		})
	}
}

// BenchmarkEcho is a round trip through a typed handler, on a goroutine of the
// mailbox's or on the loop.
func BenchmarkEcho(b *testing.B) {
	for name, inline := range map[string]bool{"mailbox": false, "inline": true} {
		b.Run(name, func(b *testing.B) {
			addr, _ := serve(b, sockeye.Config{Inline: inline})
			w := wiretest.Connect(b, addr)
			b.ReportAllocs()
			for b.Loop() {
				w.Write(`42["echo","hello, how are you?"]`)
				if _, _, err := w.Read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConnect is TCP, WebSocket and namespace connect, and the close.
func BenchmarkConnect(b *testing.B) {
	addr, _ := serve(b, sockeye.Config{})
	b.ReportAllocs()
	start := cpu()
	for b.Loop() {
		_ = wiretest.Connect(b, addr).Conn.Close()
	}
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
