// Package run is what the servers of the interoperability tests have in common:
// they print where they listen, serve until SIGINT or SIGTERM, end in a bounded
// time and print their counters, by which the tests judge them.
package run

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os/signal"
	"syscall"
	"time"
)

// Server is a server that is run.
type Server struct {
	Listen   func(network, address string) (net.Addr, error)
	Shutdown func(ctx context.Context) error
	Stats    func() any // nil if it has none
}

// Address defines the flag -addr.
func Address(byDefault string) *string {
	return flag.String("addr", byDefault, "`address` to listen on; port 0 lets the kernel choose")
}

// UntilSignal runs a server. Its first line of output is "listening on <address>",
// its last "stats <JSON>".
func UntilSignal(address string, s Server) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	bound, err := s.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", bound)
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = s.Shutdown(ending)
	if s.Stats != nil {
		stats, _ := json.Marshal(s.Stats()) // numbers only: cannot fail
		fmt.Printf("stats %s\n", stats)
	}
	return err
}
