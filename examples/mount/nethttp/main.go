// The nethttp example: Socket.IO in a service of net/http's.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/sockeye-io/sockeye"
)

// routes has Socket.IO beside the service's own paths.
func routes(srv *sockeye.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv.Handler())
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("hello"))
	})
	return mux
}

func register(srv *sockeye.Server) {
	srv.On("echo", func(s *sockeye.Socket, v any) any { return v })
}

func main() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	register(srv)
	server := &http.Server{Addr: "127.0.0.1:3000", Handler: routes(srv)}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// The connections that have moved are the Socket.IO server's.
		_ = errors.Join(server.Shutdown(ctx), srv.Shutdown(ctx))
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	_ = srv.Shutdown(context.Background()) // waits with the first
}
