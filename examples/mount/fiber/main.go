// The fiber example: Socket.IO behind Fiber, whose server is not net/http's: every
// connection goes over the bridge. Where that is too much, let the Socket.IO server
// listen on a port of its own.
package main

import (
	"log"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/sockeye-io/sockeye"
)

// routes has Socket.IO beside the service's own paths.
func routes(srv *sockeye.Server) *fiber.App {
	app := fiber.New()
	app.All("/socket.io/*", adaptor.HTTPHandler(srv.Handler()))
	app.Get("/hello", func(c fiber.Ctx) error { return c.SendString("hello") })
	return app
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
	log.Fatal(routes(srv).Listen("127.0.0.1:3000"))
}
