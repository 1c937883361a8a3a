// Package otel traces a Sockeye server with OpenTelemetry: spans for handshakes, for
// events and for what is emitted.
//
//	tracer := otel.New(otel.Options{})
//	srv, err := sockeye.New(sockeye.Config{Middleware: tracer.Middleware}) // handshakes
//	srv.UseEvents(tracer.Events)                                          // events; for each namespace, before other middlewares
//	err = otel.Emit(ctx, tracer, srv.To("room"), "news", text)            // emits and broadcasts
//	answer, err := otel.Call(ctx, tracer, socket, "sum", 1, 2)            // until the peer has answered
//
//	page's span ──parent──> GET /socket.io/            (server)    Tracer.Middleware
//	                              ^
//	                             link
//	                              └──── process chat   (consumer)  Tracer.Events, a trace of its own
//	                                        ├─ send news (producer) Emit
//	                                        ├─ call sum  (client)   Call, EmitWithAck
//	                                        └─ spans of the handler's own
//
// The span of an event is no child of the handshake's: a connection lives for days, and a
// trace does not. It has a link to it instead, and a trace of its own, which the sampler
// decides on by itself. If there is another span in the event's context, of a middleware
// around this one, it is that span's child.
//
// The handler's context (its context parameter, or Event.Context) has the event's span, so
// that spans that are begun with it are children. The context of a socket (Socket.Context)
// has the handshake's, as far as it identifies it; the span itself has ended by then, and
// is not kept.
//
// The page's span comes by the handshake's header fields, as the propagator knows them
// (traceparent), or by query parameters of the same names: browsers send no fields of the
// page's own with a WebSocket. With socket.io-client: extraHeaders, or query.
//
// Attributes are those of OpenTelemetry's conventions for HTTP and for messaging, with
// messaging.system "socketio"; and messaging.socket.io.namespace and
// messaging.socket.io.event_name, as the instrumentation for Node.js has them. No
// arguments of events, no query and no header fields but User-Agent are in them.
package otel
