// The gin example: Socket.IO behind gin and its middlewares.
package main

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/sockeye-io/sockeye"
)

// routes has Socket.IO beside the service's own paths.
func routes(srv *sockeye.Server) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Recovery())
	r.Any("/socket.io/*any", gin.WrapH(srv.Handler()))
	r.GET("/hello", func(c *gin.Context) { c.String(http.StatusOK, "hello") })
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
