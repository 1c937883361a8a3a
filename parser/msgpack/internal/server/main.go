// Command server is interop/server with the msgpack parser, for the
// interoperability tests: the same events, and the same lines of output.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/interop/events"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` to listen on; port 0 lets the kernel choose")
	flag.Parse()
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	srv, err := sockeye.New(sockeye.Config{Parser: msgpack.Parser{}})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"/", "/custom"} {
		events.Register(srv.Of(name))
	}
	events.RegisterRefused(srv.Of("/refused"))
	bound, err := srv.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("listening on", bound)
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(ending)
	stats, _ := json.Marshal(srv.Stats()) // numbers only: cannot fail
	fmt.Printf("stats %s\n", stats)
	return err
}
