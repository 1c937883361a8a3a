// Command chat is a chat room on Sockeye: names, rooms, who is typing, who is
// here. What is written without a connection is sent, once, when there is one.
//
//	go run ./examples/chat [-addr 127.0.0.1:3000] [-origin https://example.org]
//
// The page, and the small Socket.IO client that it uses, are in the folder
// page; nothing is downloaded at run time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/examples/chat/page"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`address` to listen on; port 0 lets the kernel choose")
	var cfg sockeye.Config
	flag.Func("origin", "an `origin` whose pages may connect besides the chat's own; may be given several times", func(s string) error {
		cfg.Origins = append(cfg.Origins, s)
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	cfg.Fallback = http.FileServerFS(page.Files)
	srv, err := sockeye.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	newChat(srv).register()
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("chat at http://%s/ (end with Ctrl-C)\n", bound)

	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
