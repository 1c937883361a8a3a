package otel

import (
	"context"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
)

// maxNameBytes is how much of a name is kept that a peer has made up.
const maxNameBytes = 128

// Events traces events, each from here until its handler and the middlewares behind this
// one have returned. It is for UseEvents of a server, a namespace or a parent:
//
//	srv.UseEvents(tracer.Events)
func (t *Tracer) Events(ctx context.Context, e *sockeye.Event, next func(ctx context.Context) error) (err error) {
	s, event := e.Socket(), e.Name()
	name := "process " + event
	if !e.HasHandler() { // a peer has made it up
		name = "process"
		event = valid(event[:min(len(event), maxNameBytes)])
	}
	namespace := valid(s.Namespace().Name())
	opts := make([]trace.SpanStartOption, 0, 4)
	opts = append(opts, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		system, semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess,
		semconv.MessagingDestinationName(namespace), namespaceKey.String(namespace), eventNameKey.String(event),
		semconv.MessagingClientID(s.ID()), ackKey.Bool(e.HasAck()),
	))
	if h := handshakeOf(ctx); h != nil {
		opts = append(opts, trace.WithNewRoot())
		if h.sc.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: h.sc}))
		}
	}
	ctx, span := t.tracer.Start(ctx, name, opts...)
	returned := false
	defer func() {
		if !returned { // runtime.Goexit
			err = errEnded
		}
		end(span, err)
	}()
	err = next(ctx)
	returned = true
	return err
}
