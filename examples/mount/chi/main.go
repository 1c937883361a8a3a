// The chi example: Socket.IO behind chi and its middlewares.
package main

import (
	"log"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/sockeye-io/sockeye"
)

// routes has Socket.IO beside the service's own paths. The middlewares see every
// handshake; chi's ResponseWriter passes Hijack on.
func routes(srv *sockeye.Server) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Recoverer)
	r.Handle("/socket.io/*", srv.Handler())
	r.Get("/hello", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("hello"))
	})
	return r
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
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", routes(srv)))
}
