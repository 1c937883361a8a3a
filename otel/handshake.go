package otel

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// handshakeSpan is what a connection keeps of its handshake's span, for as long as it
// lives: what identifies it.
type handshakeSpan struct {
	noop.Span

	sc       trace.SpanContext
	provider trace.TracerProvider
}

func (s *handshakeSpan) SpanContext() trace.SpanContext { return s.sc }

func (s *handshakeSpan) TracerProvider() trace.TracerProvider { return s.provider }

// Middleware traces handshakes, from here until the application has decided (other
// middlewares, AllowRequest). It is for Config.Middleware. Where the server is mounted
// behind a handler that traces, the handshake's span is the child of that handler's.
func (t *Tracer) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := carrier{header: propagation.HeaderCarrier(r.Header), query: r.URL.Query()}
		ctx := t.propagator().Extract(r.Context(), c)
		opts := make([]trace.SpanStartOption, 0, 4)
		opts = append(opts, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(handshakeAttributes(r, c.query)...))
		page, front := trace.SpanContextFromContext(ctx), trace.SpanFromContext(r.Context())
		switch fc := front.SpanContext(); {
		case t.opts.Public:
			opts = append(opts, trace.WithNewRoot())
			if page.IsValid() {
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: page}))
			}
		case fc.IsValid() && !fc.IsRemote(): // of a handler in front
			ctx = trace.ContextWithSpan(ctx, front)
			if page.IsValid() && page.TraceID() != fc.TraceID() { // which looks into no query
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: page}))
			}
		}
		name := http.MethodGet
		if r.Pattern != "" { // the path is the peer's: anything may be below
			name += " " + r.Pattern
		}
		_, span := t.tracer.Start(ctx, name, opts...)
		answer := &recorder{ResponseWriter: w}
		returned := false
		defer func() {
			if !returned { // a panic, or runtime.Goexit: the engine refuses
				answer.status = http.StatusForbidden
				span.SetStatus(codes.Error, "the handshake's middleware or AllowRequest has not returned")
			}
			if answer.status != 0 {
				span.SetAttributes(semconv.HTTPResponseStatusCode(answer.status))
			}
			if answer.status >= 500 {
				span.SetStatus(codes.Error, http.StatusText(answer.status))
			}
			span.End()
		}()
		// What is given on stays with the connection: neither the span, nor the page's.
		kept := trace.ContextWithSpan(r.Context(), &handshakeSpan{sc: span.SpanContext(), provider: t.provider})
		if b := baggage.FromContext(ctx); b.Len() > 0 && !t.opts.Public {
			kept = baggage.ContextWithBaggage(kept, b)
		}
		next.ServeHTTP(answer, r.WithContext(kept))
		returned = true
	})
}

func handshakeAttributes(r *http.Request, query url.Values) []attribute.KeyValue {
	address := r.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	transport := query.Get("transport")
	if transport != "websocket" && transport != "polling" {
		transport = "unknown"
	}
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodGet, semconv.URLPath(valid(r.URL.Path)),
		semconv.NetworkPeerAddress(address), semconv.ClientAddress(address), system, transportKey.String(transport),
	}
	if r.Pattern != "" {
		attrs = append(attrs, semconv.HTTPRoute(r.Pattern))
	}
	if agent := r.UserAgent(); agent != "" {
		attrs = append(attrs, semconv.UserAgentOriginal(valid(agent)))
	}
	return attrs
}

// recorder sees what is answered; nothing is, if the handshake goes on.
type recorder struct {
	http.ResponseWriter

	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// carrier has the handshake's header fields, and behind them its query.
type carrier struct {
	header propagation.HeaderCarrier
	query  url.Values
}

func (c carrier) Get(key string) string {
	if v := c.header.Get(key); v != "" {
		return v
	}
	return c.query.Get(key)
}

func (c carrier) Set(string, string) {}

func (c carrier) Keys() []string { return c.header.Keys() }

// handshakeOf is the handshake's span, if there is none in ctx that is nearer.
func handshakeOf(ctx context.Context) *handshakeSpan {
	s, _ := trace.SpanFromContext(ctx).(*handshakeSpan)
	return s
}
