// The echo example: Socket.IO behind Echo and its middlewares.
package main

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/sockeye-io/sockeye"
)

// routes has Socket.IO beside the service's own paths.
func routes(srv *sockeye.Server) http.Handler {
	e := echo.New()
	e.HideBanner = true
	e.Use(middleware.Recover())
	e.Any("/socket.io/*", echo.WrapHandler(srv.Handler()))
	e.GET("/hello", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })
	return e
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
