package prometheus

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// BenchmarkScrape is a scrape, in HTTP's text, of a server with so many connections.
// What it depends on are the rooms and the namespaces, whose names are compared: each
// socket is in its own room, in one of 10 for all, or in a namespace of its own.
func BenchmarkScrape(b *testing.B) {
	for _, c := range []struct {
		name      string
		conns     int
		rooms     func(i int) string
		namespace func(i int) string
	}{
		{"1", 1, func(int) string { return "lobby" }, nil},
		{"10000", 10_000, func(i int) string { return fmt.Sprint("room ", i%10) }, nil},
		{"10000, a room each", 10_000, func(i int) string { return fmt.Sprint("room ", i) }, nil},
		{"10000, a namespace each", 10_000, func(i int) string { return "lobby" }, func(i int) string { return fmt.Sprint("/n", i) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			srv := sockeyetest.NewServer(b, sockeye.Config{MaxConns: 20_000})
			joins := 0
			join := func(s *sockeye.Socket) error { joins++; return s.Join(c.rooms(joins)) }
			srv.OnConnect(join)
			srv.OfPattern(regexp.MustCompile(`/n\d+`)).OnConnect(join)
			m := NewCollector(srv.Server, Options{})
			for i := range c.conns {
				o := sockeyetest.Options{}
				if c.namespace != nil {
					o.Namespace = c.namespace(i)
				}
				srv.Connect(b, o)
			}
			reg := prom.NewRegistry()
			reg.MustRegister(m)
			h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
			}
		})
	}
}

// BenchmarkMeasured is what measuring adds to an event, without the event.
func BenchmarkMeasured(b *testing.B) {
	srv := sockeyetest.NewServer(b, sockeye.Config{})
	m := NewCollector(srv.Server, Options{})
	srv.On("e", func() {})
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, _ func(context.Context) error) error {
		b.ReportAllocs()
		for b.Loop() {
			_ = m.Events(ctx, e, func(context.Context) error { return nil })
		}
		return nil
	})
	srv.Connect(b, sockeyetest.Options{}).Emit("e")
}

// BenchmarkEvents is the round trip of an event on the loopback: without a middleware,
// with one that only calls next, and measured.
func BenchmarkEvents(b *testing.B) {
	for _, c := range []struct {
		name  string
		setup func(srv *sockeye.Server)
	}{
		{"without", func(*sockeye.Server) {}},
		{"empty", func(srv *sockeye.Server) {
			srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next func(context.Context) error) error { return next(ctx) })
		}},
		{"measured", func(srv *sockeye.Server) { srv.UseEvents(NewCollector(srv, Options{}).Events) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			srv, err := sockeye.New(sockeye.Config{Loops: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			c.setup(srv)
			srv.On("echo", func(s *sockeye.Socket, text string) error { return s.Emit("echo", text) })
			addr, err := srv.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			w := wiretest.Connect(b, addr.String())
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
