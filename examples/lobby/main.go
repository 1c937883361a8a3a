// Command lobby is a game lobby on Sockeye: games of three in a row, each in a namespace
// of its own, for two who play and any who watch.
//
//	go run ./examples/lobby [-addr 127.0.0.1:3000] [-client folder]
//
// The page uses the official client, and the types of contract.d.ts, which are made of the
// handlers here: see docs/contracts.md. The client is socket.io-client's of npm:
//
//	npm install --prefix examples/lobby socket.io-client
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
	client := flag.String("client", "examples/lobby/node_modules/socket.io-client/dist", "`folder` with socket.io.esm.min.js")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if _, err := os.Stat(*client + "/socket.io.esm.min.js"); err != nil {
		log.Fatalf("%v; install it by: npm install --prefix examples/lobby socket.io-client", err)
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := sockeye.New(sockeye.Config{
		Client:                      os.DirFS(*client),
		Fallback:                    http.FileServerFS(files),
		CleanupEmptyChildNamespaces: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	newHall(srv).register()
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("lobby at http://%s/ (end with Ctrl-C)\n", bound)

	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
