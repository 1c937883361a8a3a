package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/examples/mount/mounttest"
)

func TestClients(t *testing.T) {
	mounttest.Run(t, mounttest.Example{Register: register, Serve: mounttest.HTTP(routes)})
}
