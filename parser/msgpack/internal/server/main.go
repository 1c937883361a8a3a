// Command server is interop/server with the msgpack parser, for the
// interoperability tests: the same events, and the same lines of output.
package main

import (
	"flag"
	"log"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/interop/events"
	"github.com/sockeye-io/sockeye/interop/run"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

func main() {
	addr := run.Address("127.0.0.1:0")
	flag.Parse()
	srv, err := sockeye.New(sockeye.Config{Parser: msgpack.Parser{}})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"/", "/custom"} {
		events.Register(srv.Of(name))
	}
	events.RegisterRefused(srv.Of("/refused"))
	err = run.UntilSignal(*addr, run.Server{Listen: srv.Listen, Shutdown: srv.Shutdown, Stats: func() any { return srv.Stats() }})
	if err != nil {
		log.Fatal(err)
	}
}
