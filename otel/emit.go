package otel

import (
	"context"
	"errors"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
)

var errEnded = errors.New("the goroutine has ended (runtime.Goexit)")

// Emitter is what emits: a Socket, Emitter, Operator, Namespace, ParentNamespace or
// Server.
type Emitter interface {
	Emit(event string, args ...any) error
}

// Caller is what asks and waits: a Socket, or an Operator, whose answers are several.
type Caller[A any] interface {
	Call(ctx context.Context, event string, args ...any) (A, error)
}

// Asker is what asks and does not wait: a Socket, Emitter or Operator.
type Asker[A any] interface {
	EmitWithAck(f func(answer A, err error), event string, args ...any) error
}

// Emit is to.Emit, with a span that is ctx's child: until the event has been handed on,
// and not until peers have it.
func Emit(ctx context.Context, t *Tracer, to Emitter, event string, args ...any) error {
	_, span := t.send(ctx, trace.SpanKindProducer, "send", event, to)
	err := to.Emit(event, args...)
	end(span, err)
	return err
}

// Call is to.Call, with a span that is ctx's child: until the peer, or all of them, have
// answered, or it is given up.
func Call[A any](ctx context.Context, t *Tracer, to Caller[A], event string, args ...any) (A, error) {
	ctx, span := t.send(ctx, trace.SpanKindClient, "call", event, to)
	answer, err := to.Call(ctx, event, args...)
	count(span, answer)
	end(span, err)
	return answer, err
}

// EmitWithAck is to.EmitWithAck, with a span that is ctx's child: until f has been called.
// f's context has the span.
func EmitWithAck[A any](ctx context.Context, t *Tracer, to Asker[A], f func(ctx context.Context, answer A, err error), event string, args ...any) error {
	ctx, span := t.send(ctx, trace.SpanKindClient, "call", event, to)
	err := to.EmitWithAck(func(answer A, err error) {
		count(span, answer)
		defer end(span, err) // whatever f does
		f(ctx, answer, err)
	}, event, args...)
	if err != nil { // f is not called
		end(span, err)
	}
	return err
}

// count notes how many have answered.
func count(span trace.Span, answer any) {
	if all, ok := answer.([]sockeye.Answer); ok {
		span.SetAttributes(answersKey.Int(len(all)))
	}
}

// send begins a span of what is emitted.
func (t *Tracer) send(ctx context.Context, kind trace.SpanKind, verb, event string, to any) (context.Context, trace.Span) {
	attrs := append(make([]trace.SpanStartOption, 0, 4), trace.WithSpanKind(kind), trace.WithAttributes(
		system, semconv.MessagingOperationName(verb), semconv.MessagingOperationTypeSend, eventNameKey.String(event),
	))
	var namespace string
	switch to := to.(type) {
	case *sockeye.Socket:
		namespace = to.Namespace().Name()
		attrs = append(attrs, trace.WithAttributes(semconv.MessagingClientID(to.ID())))
	case *sockeye.Namespace:
		namespace = to.Name()
	case *sockeye.Server:
		namespace = to.Name()
	}
	if namespace != "" {
		attrs = append(attrs, trace.WithAttributes(semconv.MessagingDestinationName(namespace), namespaceKey.String(namespace)))
	}
	return t.tracer.Start(ctx, verb+" "+event, attrs...)
}
