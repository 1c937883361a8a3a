// Command service is a Go service as there are many, with chi, TLS, slog, Prometheus,
// OpenTelemetry and an end at SIGTERM, to which Sockeye has been added. README.md has
// what that took.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/sockeye-io/sockeye"
	sockeyeprom "github.com/sockeye-io/sockeye/metrics/prometheus"
	sockeyeotel "github.com/sockeye-io/sockeye/otel"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "`address` of the service")
	cert := flag.String("cert", "", "`file` of the certificate (default: no TLS)")
	key := flag.String("key", "", "`file` of its key")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *cert, *key); err != nil {
		slog.Error("the service has failed", "err", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, addr, cert, key string) error {
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(os.Stderr))
	if err != nil {
		return err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	tracer := sockeyeotel.New(sockeyeotel.Options{})
	realtime, err := sockeye.New(sockeye.Config{Middleware: tracer.Middleware})
	if err != nil {
		return err
	}
	collector := sockeyeprom.NewCollector(realtime, sockeyeprom.Options{})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collector)
	duration := promauto.With(metrics).NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds"}, []string{"code", "method"})

	realtime.UseEvents(tracer.Events)
	realtime.UseEvents(collector.Events)
	realtime.On("follow", func(s *sockeye.Socket, id string) error { return s.Join("order " + id) })

	orders := &Orders{status: map[string]string{}, realtime: realtime}
	router := chi.NewRouter()
	router.Use(
		func(next http.Handler) http.Handler { return otelhttp.NewHandler(next, "http") },
		func(next http.Handler) http.Handler { return promhttp.InstrumentHandlerDuration(duration, next) },
		logRequests,
		middleware.Recoverer,
	)
	router.Get("/orders/{id}", orders.get)
	router.Put("/orders/{id}", orders.put)
	router.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	router.Handle("/socket.io/*", realtime.Handler())

	server := &http.Server{
		Handler: router, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		if cert == "" {
			failed <- server.Serve(ln)
		} else {
			failed <- server.ServeTLS(ln, cert, key)
		}
	}()
	slog.Info("serving", "addr", ln.Addr().String(), "tls", cert != "")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("ending")
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(realtime.Shutdown(ending), server.Shutdown(ending), provider.Shutdown(ending))
}

// logRequests is the access log.
func logRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, began := middleware.NewWrapResponseWriter(w, r.ProtoMajor), time.Now()
		defer func() {
			slog.InfoContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", seen.Status(), "took", time.Since(began))
		}()
		next.ServeHTTP(seen, r)
	})
}
