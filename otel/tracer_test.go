package otel

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

const (
	pageTrace   = "0af7651916cd43dd8448eb211c80319c"
	pageSpan    = "b7ad6b7169203331"
	traceparent = "00-" + pageTrace + "-" + pageSpan + "-01"
)

// world is a traced server in memory.
type world struct {
	*sockeyetest.Server

	t        *testing.T
	tracer   *Tracer
	provider *sdk.TracerProvider
	exporter *tracetest.InMemoryExporter
}

func newWorld(t *testing.T, cfg sockeye.Config, opts Options) *world {
	w := &world{t: t, exporter: tracetest.NewInMemoryExporter()}
	w.provider = sdk.NewTracerProvider(sdk.WithSyncer(w.exporter))
	opts.TracerProvider = w.provider
	opts.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	w.tracer = New(opts)
	cfg.Logger = slog.New(slog.DiscardHandler)
	inner := cfg.Middleware
	cfg.Middleware = w.tracer.Middleware
	if inner != nil {
		cfg.Middleware = func(next http.Handler) http.Handler { return w.tracer.Middleware(inner(next)) }
	}
	w.Server = sockeyetest.NewServer(t, cfg)
	w.UseEvents(w.tracer.Events)
	w.OnError(func(*sockeye.Socket, string, error) {})
	return w
}

// spans are those that have ended since, by name.
func (w *world) spans() map[string]tracetest.SpanStub {
	w.t.Helper()
	w.Settle()
	found := map[string]tracetest.SpanStub{}
	for _, s := range w.exporter.GetSpans() {
		if _, twice := found[s.Name]; twice {
			w.t.Errorf("two spans %q", s.Name)
		}
		found[s.Name] = s
	}
	w.exporter.Reset()
	return found
}

func attributes(s tracetest.SpanStub) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}

func expectAttributes(t *testing.T, s tracetest.SpanStub, want map[string]string) {
	t.Helper()
	got := attributes(s)
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %q, want %q", s.Name, k, got[k], v)
		}
	}
}

// TestPageToHandler: the handshake's span is the page's child; an event's is linked to
// it, with a trace of its own; the handler's spans are the event's children.
func TestPageToHandler(t *testing.T) {
	for name, o := range map[string]sockeyetest.Options{
		"header": {Header: http.Header{"Traceparent": {traceparent}, "Baggage": {"user=1"}, "User-Agent": {"page\xff"}}},
		"query":  {Query: url.Values{"traceparent": {traceparent}, "baggage": {"user=1"}}, Header: http.Header{"User-Agent": {"page\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sockeye.Config{}, Options{})
			user := w.provider.Tracer("user")
			w.OnConnect(func(s *sockeye.Socket) error {
				_, span := user.Start(s.Context(), "in OnConnect")
				span.End()
				return nil
			})
			w.On("chat", func(ctx context.Context, s *sockeye.Socket, _ string) string {
				ctx, span := user.Start(ctx, "in the handler")
				defer span.End()
				_ = Emit(ctx, w.tracer, s.Namespace().To("room"), "news", 1)
				_ = Emit(ctx, w.tracer, s, "thanks")
				return baggage.FromContext(ctx).Member("user").Value()
			})
			peer := w.Connect(t, o)
			id := w.Sockets()[0].ID()
			opened := w.spans()
			hs := opened["GET /socket.io/"]
			if hs.SpanContext.TraceID().String() != pageTrace || hs.Parent.SpanID().String() != pageSpan || hs.SpanKind != trace.SpanKindServer {
				t.Errorf("the handshake is no child of the page: %+v", hs)
			}
			expectAttributes(t, hs, map[string]string{
				"http.request.method": "GET", "url.path": "/socket.io/", "messaging.system": "socketio",
				"user_agent.original": "page\uFFFD", "messaging.socket.io.transport": "websocket",
			})
			if in := opened["in OnConnect"]; in.Parent.SpanID() != hs.SpanContext.SpanID() || in.SpanContext.TraceID() != hs.SpanContext.TraceID() {
				t.Errorf("OnConnect's span is no child of the handshake: %+v", in)
			}
			if got := peer.Call("chat", "secret"); len(got) != 1 || got[0] != "1" {
				t.Errorf("the baggage: %v", got)
			}
			spans := w.spans()
			event := spans["process chat"]
			if event.SpanContext.TraceID().String() == pageTrace || event.Parent.IsValid() || event.SpanKind != trace.SpanKindConsumer {
				t.Errorf("the event has no trace of its own: %+v", event)
			}
			if len(event.Links) != 1 || event.Links[0].SpanContext.SpanID() != hs.SpanContext.SpanID() {
				t.Errorf("the event's links: %+v", event.Links)
			}
			expectAttributes(t, event, map[string]string{
				"messaging.system": "socketio", "messaging.operation.name": "process", "messaging.operation.type": "process",
				"messaging.destination.name": "/", "messaging.socket.io.namespace": "/", "messaging.socket.io.event_name": "chat",
				"messaging.client.id": id, "messaging.socket.io.ack": "true",
			})
			inside := spans["in the handler"]
			if inside.Parent.SpanID() != event.SpanContext.SpanID() {
				t.Errorf("the handler's span is no child of the event: %+v", inside)
			}
			for _, name := range []string{"send news", "send thanks"} {
				if s := spans[name]; s.Parent.SpanID() != inside.SpanContext.SpanID() || s.SpanKind != trace.SpanKindProducer {
					t.Errorf("%s is no child of the handler's span: %+v", name, s)
				}
			}
			expectAttributes(t, spans["send thanks"], map[string]string{"messaging.client.id": id, "messaging.destination.name": "/", "messaging.operation.type": "send"})
			for _, s := range spans {
				for k, v := range attributes(s) {
					if strings.Contains(v, "secret") {
						t.Errorf("%s: %s has an argument: %q", s.Name, k, v)
					}
				}
			}
		})
	}
}

// TestInFront: behind a handler that has begun a span (an instrumented http.Server, where
// the server is mounted) the handshake's is that one's child, also if that one has not
// seen the page's, which is in the query then.
func TestInFront(t *testing.T) {
	for _, c := range []struct {
		name, target string
		header       string
		links        int
	}{
		{"header", "/socket.io/?EIO=4", traceparent, 0},
		{"query", "/socket.io/?EIO=4&traceparent=" + traceparent, "", 1},
		{"nothing", "/socket.io/?EIO=4", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			exporter := tracetest.NewInMemoryExporter()
			provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
			tracer := New(Options{TracerProvider: provider, Propagator: propagation.TraceContext{}})
			r := httptest.NewRequest("GET", c.target, nil)
			if c.header != "" {
				r.Header.Set("Traceparent", c.header)
			}
			ctx, front := provider.Tracer("front").Start(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)), "in front")
			tracer.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
			got := exporter.GetSpans()
			if len(got) != 1 || got[0].Parent.SpanID() != front.SpanContext().SpanID() {
				t.Fatalf("the handshake is no child of the span in front: %+v", got)
			}
			if len(got[0].Links) != c.links || c.links > 0 && got[0].Links[0].SpanContext.SpanID().String() != pageSpan {
				t.Errorf("links: %+v", got[0].Links)
			}
		})
	}
}

// TestPublic: a stranger's traceparent is a link, and its baggage is left.
func TestPublic(t *testing.T) {
	w := newWorld(t, sockeye.Config{}, Options{Public: true})
	w.On("who", func(ctx context.Context) int { return baggage.FromContext(ctx).Len() })
	peer := w.Connect(t, sockeyetest.Options{Header: http.Header{"Traceparent": {traceparent}, "Baggage": {"user=root"}}})
	hs := w.spans()["GET /socket.io/"]
	if hs.SpanContext.TraceID().String() == pageTrace || hs.Parent.IsValid() || len(hs.Links) != 1 || hs.Links[0].SpanContext.TraceID().String() != pageTrace {
		t.Errorf("%+v", hs)
	}
	if got := peer.Call("who"); got[0] != 0.0 {
		t.Errorf("%v members of baggage", got)
	}
}

// TestMadeUpPath: whatever a peer asks for below the server's path is in no span's name,
// and in no attribute as bytes that an exporter would fail on, with all that it sends at
// once.
func TestMadeUpPath(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	tracer := New(Options{TracerProvider: provider})
	srv, err := sockeye.New(sockeye.Config{Middleware: tracer.Middleware, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + addr.String() + "/socket.io/made-up%ff?EIO=4&transport=polling&t=%ff")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	spans := exporter.GetSpans()
	if len(spans) != 1 || spans[0].Name != "GET /socket.io/" {
		t.Fatalf("%d: %+v", resp.StatusCode, spans)
	}
	expectAttributes(t, spans[0], map[string]string{"http.route": "/socket.io/", "url.path": "/socket.io/made-up\uFFFD"})
	for k, v := range attributes(spans[0]) {
		if !utf8.ValidString(v) {
			t.Errorf("%s is %q", k, v)
		}
	}
}

// TestRefused: what AllowRequest, another middleware or a panic has refused.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    sockeye.Config
		status string
		code   codes.Code
	}{
		"AllowRequest": {sockeye.Config{AllowRequest: func(*sockeye.Request) error { return errors.New("no") }}, "403", codes.Unset},
		"middleware": {sockeye.Config{Middleware: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "later", http.StatusServiceUnavailable) })
		}}, "503", codes.Error},
		"panic":  {sockeye.Config{AllowRequest: func(*sockeye.Request) error { panic("on purpose") }}, "403", codes.Error},
		"Goexit": {sockeye.Config{AllowRequest: func(*sockeye.Request) error { runtime.Goexit(); return nil }}, "403", codes.Error},
		"none":   {sockeye.Config{}, "", codes.Unset},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.cfg, Options{})
			if _, err := w.Dial(t, sockeyetest.Options{}); (err == nil) != (c.status == "") {
				t.Errorf("Dial: %v", err)
			}
			hs := w.spans()["GET /socket.io/"]
			if got := attributes(hs)["http.response.status_code"]; got != c.status || hs.Status.Code != c.code {
				t.Errorf("status %q, %v; want %q, %v", got, hs.Status, c.status, c.code)
			}
		})
	}
}

// TestEvents: how an event ends is its span's status, and a name that a peer has made up
// is not in the span's.
func TestEvents(t *testing.T) {
	w := newWorld(t, sockeye.Config{}, Options{})
	w.On("fails", func() error { return errors.New("broken\xff") })
	w.On("refuses", func() error { return &sockeye.AckError{Message: "no"} })
	w.On("panics", func() { panic("on purpose") })
	w.On("exits", func() { runtime.Goexit() })
	w.On("typed", func(int) {})
	rooms := w.OfPattern(regexp.MustCompile(`/room-\d+`))
	rooms.UseEvents(w.tracer.Events)
	rooms.On("here", func() {})
	peer := w.Connect(t, sockeyetest.Options{})
	for event, want := range map[string][2]string{
		"fails": {"broken\uFFFD", "*errors.errorString"}, "refuses": {"no", "ack_error"}, "panics": {"", "panic"}, "typed": {"", "argument"}, "exits": {"", ""},
	} {
		peer.Emit(event)
		s := w.spans()["process "+event]
		if s.Status.Code != codes.Error || want[0] != "" && s.Status.Description != want[0] || want[1] != "" && attributes(s)["error.type"] != want[1] {
			t.Errorf("%s: %+v, %q", event, s.Status, attributes(s)["error.type"])
		}
		if got := attributes(s)["messaging.socket.io.ack"]; got != "false" {
			t.Errorf("%s: ack %s", event, got)
		}
	}
	peer.Emit(strings.Repeat("é", 500))
	s, ok := w.spans()["process"]
	if name := attributes(s)["messaging.socket.io.event_name"]; !ok || len(name) != maxNameBytes || s.Status.Code != codes.Unset {
		t.Errorf("an invented event: %v, %q, %v", ok, name, s.Status)
	}
	w.Connect(t, sockeyetest.Options{Namespace: "/room-7"}).Emit("here")
	expectAttributes(t, w.spans()["process here"], map[string]string{"messaging.destination.name": "/room-7"})
}

// TestInsideAnother: with a span of a middleware around, an event's is its child; and
// without a traced handshake it is a root without links.
func TestInsideAnother(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	tracer := New(Options{TracerProvider: provider})
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.On("e", func() {})
	remove := srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next func(context.Context) error) error {
		ctx, span := provider.Tracer("x").Start(ctx, "outer")
		defer span.End()
		return next(ctx)
	})
	srv.UseEvents(tracer.Events)
	peer := srv.Connect(t, sockeyetest.Options{})
	peer.Emit("e")
	srv.Settle()
	spans := exporter.GetSpans()
	if len(spans) != 2 || spans[0].Name != "process e" || spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() {
		t.Errorf("%+v", spans)
	}
	remove()
	exporter.Reset()
	peer.Emit("e")
	srv.Settle()
	if spans := exporter.GetSpans(); len(spans) != 1 || spans[0].Parent.IsValid() || len(spans[0].Links) != 0 {
		t.Errorf("%+v", spans)
	}
}

// TestCalls: until the peer has answered, or does not.
func TestCalls(t *testing.T) {
	w := newWorld(t, sockeye.Config{AckTimeout: time.Minute}, Options{})
	w.Connect(t, sockeyetest.Options{}) // answers nothing
	answering := w.Connect(t, sockeyetest.Options{})
	answering.Answer(func(sockeyetest.Event) []any { return []any{"yes"} })
	w.exporter.Reset()
	ctx, root := w.provider.Tracer("user").Start(context.Background(), "root")

	other := w.Socket(answering.ID())
	if err := EmitWithAck(ctx, w.tracer, other, func(ctx context.Context, answer sockeye.Args, err error) {
		_, span := w.provider.Tracer("user").Start(ctx, "in f")
		span.End()
		var text string
		if err != nil || answer.Decode(&text) != nil || text != "yes" {
			t.Errorf("%v %v", text, err)
		}
	}, "ask"); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Second)
	spans := w.spans()
	ask := spans["call ask"]
	if ask.SpanKind != trace.SpanKindClient || ask.Parent.SpanID() != root.SpanContext().SpanID() || ask.Status.Code != codes.Unset {
		t.Errorf("%+v", ask)
	}
	if in := spans["in f"]; in.Parent.SpanID() != ask.SpanContext.SpanID() {
		t.Errorf("f's span is no child: %+v", in)
	}

	answered := make(chan []sockeye.Answer, 1)
	if err := EmitWithAck(ctx, w.tracer, w.All().Timeout(200*time.Millisecond), func(_ context.Context, answers []sockeye.Answer, err error) { answered <- answers }, "ask"); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Second)
	select {
	case got := <-answered:
		if len(got) != 1 {
			t.Errorf("%d answers", len(got))
		}
	case <-time.After(sockeyetest.Patience):
		t.Fatal("no answers")
	}
	w.eventually(func() bool { return len(w.exporter.GetSpans()) == 1 })
	expectAttributes(t, w.spans()["call ask"], map[string]string{"messaging.socket.io.answers": "1", "error.type": "ack_timeout"})

	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Call(done, w.tracer, other, "ask"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := w.spans()["call ask"]; s.Status.Code != codes.Error {
		t.Errorf("%+v", s)
	}
	if err := Emit(ctx, w.tracer, w.Server.Server, "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Error(err)
	}
	if s := w.spans()["send connect"]; s.Status.Code != codes.Error || attributes(s)["messaging.destination.name"] != "/" {
		t.Errorf("%+v", s)
	}
	other.Disconnect()
	w.Settle()
	if err := EmitWithAck(ctx, w.tracer, other, func(context.Context, sockeye.Args, error) { t.Error("f is called") }, "ask"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Error(err)
	}
	expectAttributes(t, w.spans()["call ask"], map[string]string{"error.type": "disconnected"})
}

func (w *world) eventually(f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(sockeyetest.Patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it has not come")
		}
	}
}

// TestNothingKept: with the default provider nothing is traced, and everything works.
func TestNothingKept(t *testing.T) {
	tracer := New(Options{})
	srv := sockeyetest.NewServer(t, sockeye.Config{Middleware: tracer.Middleware})
	srv.UseEvents(tracer.Events)
	srv.On("e", func(ctx context.Context, s *sockeye.Socket) (bool, error) {
		return trace.SpanContextFromContext(ctx).IsValid(), Emit(ctx, tracer, s, "x")
	})
	if got := srv.Connect(t, sockeyetest.Options{}).Call("e"); len(got) != 1 || got[0] != false {
		t.Errorf("%v", got)
	}
}
