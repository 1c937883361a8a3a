package otel_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/otel"
)

// A whole program. In production the exporter is one of OTLP, behind sdk.WithBatcher, and
// the sampler keeps a part.
func Example() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter), sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())))
	defer provider.Shutdown(context.Background())

	tracer := otel.New(otel.Options{TracerProvider: provider, Propagator: propagation.TraceContext{}})
	srv, err := sockeye.New(sockeye.Config{Middleware: tracer.Middleware})
	if err != nil {
		log.Fatal(err)
	}
	srv.UseEvents(tracer.Events) // for each namespace
	srv.On("say", func(ctx context.Context, s *sockeye.Socket, text string) (string, error) {
		_, span := provider.Tracer("chat").Start(ctx, "save") // a child of the event's span
		span.End()
		return "said", otel.Emit(ctx, tracer, s.Broadcast(), "news", text)
	})
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	// A page that is traced.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	page := "0af7651916cd43dd8448eb211c80319c"
	c, err := client.Dial(ctx, "http://"+addr.String(), client.Config{
		Transports: []string{"websocket"}, Header: http.Header{"Traceparent": {"00-" + page + "-b7ad6b7169203331-01"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Call(ctx, "say", "hello"); err != nil {
		log.Fatal(err)
	}
	c.Close()
	if err := srv.Shutdown(ctx); err != nil { // the event's span ends with its handler
		log.Fatal(err)
	}
	for _, s := range exporter.GetSpans() {
		fmt.Println(s.Name, "of the page:", s.SpanContext.TraceID().String() == page, "links:", len(s.Links))
	}
	// Output:
	// GET /socket.io/ of the page: true links: 0
	// save of the page: false links: 0
	// send news of the page: false links: 0
	// process say of the page: false links: 1
}
