// Command cursors shows everybody's pointer on everybody's page, with Sockeye.
//
//	go run ./examples/cursors [-addr 127.0.0.1:3000] [-client folder]
//
// A position is volatile: who cannot take it at once, because of a slow network, gets the
// next one instead of a queue of old ones. The page uses the official client, which is
// socket.io-client's of npm:
//
//	npm install --prefix examples/cursors socket.io-client
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
)

//go:embed page
var page embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`address` to listen on; port 0 lets the kernel choose")
	client := flag.String("client", "examples/cursors/node_modules/socket.io-client/dist", "`folder` with socket.io.esm.min.js")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if _, err := os.Stat(*client + "/socket.io.esm.min.js"); err != nil {
		log.Fatalf("%v; install it by: npm install --prefix examples/cursors socket.io-client", err)
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := sockeye.New(sockeye.Config{
		Client:               os.DirFS(*client),
		Fallback:             http.FileServerFS(files),
		MaxMessagesPerSecond: maxPerSecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	register(srv)
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("cursors at http://%s/ (end with Ctrl-C)\n", bound)

	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
