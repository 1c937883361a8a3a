package otel

import (
	"context"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// discard is a span processor that exports nothing: what is measured is this package and
// the SDK, and no exporter.
type discard struct{}

func (discard) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (discard) OnEnd(sdk.ReadOnlySpan)                     {}
func (discard) Shutdown(context.Context) error             { return nil }
func (discard) ForceFlush(context.Context) error           { return nil }

// BenchmarkSpan is what tracing adds to an event, without the event.
func BenchmarkSpan(b *testing.B) {
	for _, c := range []struct {
		name string
		opts Options
	}{
		{"no provider", Options{}},
		{"not sampled", sampled(sdk.NeverSample())},
		{"sampled", sampled(sdk.AlwaysSample())},
	} {
		b.Run(c.name, func(b *testing.B) {
			tracer := New(c.opts)
			srv := sockeyetest.NewServer(b, sockeye.Config{Middleware: tracer.Middleware})
			srv.On("e", func() {})
			srv.UseEvents(func(ctx context.Context, e *sockeye.Event, _ func(context.Context) error) error {
				b.ReportAllocs()
				for b.Loop() {
					_ = tracer.Events(ctx, e, func(context.Context) error { return nil })
				}
				return nil
			})
			peer := srv.Connect(b, sockeyetest.Options{})
			peer.Emit("e")
		})
	}
}

func sampled(s sdk.Sampler) Options {
	return Options{TracerProvider: sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithSpanProcessor(discard{}))}
}

// BenchmarkEvents is the round trip of an event on the loopback: without a middleware,
// with one that only calls next, and traced: without a provider, not sampled, sampled.
func BenchmarkEvents(b *testing.B) {
	traced := func(o Options) func(*sockeye.Server) {
		return func(srv *sockeye.Server) { srv.UseEvents(New(o).Events) }
	}
	for _, c := range []struct {
		name  string
		setup func(srv *sockeye.Server)
	}{
		{"without", func(*sockeye.Server) {}},
		{"empty", func(srv *sockeye.Server) {
			srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next func(context.Context) error) error { return next(ctx) })
		}},
		{"no provider", traced(Options{})},
		{"not sampled", traced(sampled(sdk.NeverSample()))},
		{"sampled", traced(sampled(sdk.AlwaysSample()))},
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
