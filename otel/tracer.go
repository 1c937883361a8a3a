package otel

import (
	"errors"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
)

const scope = "github.com/sockeye-io/sockeye/otel"

// Options are how a server is traced. The zero value works.
type Options struct {
	// TracerProvider makes the spans. Default: otel.GetTracerProvider's, which makes
	// none until otel.SetTracerProvider has been called.
	TracerProvider trace.TracerProvider

	// Propagator finds the page's span in the handshake. Default:
	// otel.GetTextMapPropagator's, which finds none until otel.SetTextMapPropagator has
	// been called.
	Propagator propagation.TextMapPropagator

	// Public is for servers that strangers connect to: the handshake's span has a trace
	// of its own, with a link to the page's, so that peers do not decide what is
	// sampled, nor into whose traces it goes.
	Public bool
}

// Tracer makes spans. Its methods may be called from any goroutine.
type Tracer struct {
	// Immutable after New.
	tracer   trace.Tracer
	provider trace.TracerProvider
	opts     Options
}

// New makes a tracer, for one server or several.
func New(opts Options) *Tracer {
	t := &Tracer{provider: opts.TracerProvider, opts: opts}
	if t.provider == nil {
		t.provider = otel.GetTracerProvider()
	}
	t.tracer = t.provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	return t
}

func (t *Tracer) propagator() propagation.TextMapPropagator {
	if t.opts.Propagator != nil {
		return t.opts.Propagator
	}
	return otel.GetTextMapPropagator() // it may be set after New
}

// The attributes that the conventions do not have.
const (
	eventNameKey = attribute.Key("messaging.socket.io.event_name")
	namespaceKey = attribute.Key("messaging.socket.io.namespace")
	ackKey       = attribute.Key("messaging.socket.io.ack")       // the peer asks for an answer
	transportKey = attribute.Key("messaging.socket.io.transport") // of the handshake
	answersKey   = attribute.Key("messaging.socket.io.answers")   // of a call of several
)

var system = semconv.MessagingSystemKey.String("socketio")

// end ends a span with what has come out.
func end(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
		span.SetStatus(codes.Error, valid(err.Error()))
	}
	span.End()
}

// valid is what an exporter can send: attributes are UTF-8, and peers send what they like.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// errorType is an error's class: there are few of them.
func errorType(err error) string {
	var (
		panicked *sockeye.PanicError
		argument *sockeye.ArgumentError
		public   *sockeye.AckError
	)
	switch {
	case errors.As(err, &panicked):
		return "panic"
	case errors.As(err, &argument):
		return "argument"
	case errors.As(err, &public):
		return "ack_error"
	case errors.Is(err, sockeye.ErrAckTimeout):
		return "ack_timeout"
	case errors.Is(err, sockeye.ErrDisconnected):
		return "disconnected"
	case errors.Is(err, sockeye.ErrQueueFull):
		return "queue_full"
	}
	return semconv.ErrorType(err).Value.AsString()
}
