package main

import (
	"net"
	"testing"

	"github.com/gofiber/fiber/v3"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/examples/mount/mounttest"
)

func TestClients(t *testing.T) {
	mounttest.Run(t, mounttest.Example{Register: register, Bridged: true, Serve: func(srv *sockeye.Server, ln net.Listener) error {
		return routes(srv).Listener(ln, fiber.ListenConfig{DisableStartupMessage: true})
	}})
}
