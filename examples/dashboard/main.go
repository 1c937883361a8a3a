// Command dashboard shows how a process is, live, with Sockeye.
//
//	go run ./examples/dashboard [-addr 127.0.0.1:3000] [-client folder]
//
// Each figure is a room: who looks at it is in, and gets what it was by the answer, then a
// value each second. Nobody is sent what nobody looks at. The page uses the official
// client, which is socket.io-client's of npm:
//
//	npm install --prefix examples/dashboard socket.io-client
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
	client := flag.String("client", "examples/dashboard/node_modules/socket.io-client/dist", "`folder` with socket.io.esm.min.js")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if _, err := os.Stat(*client + "/socket.io.esm.min.js"); err != nil {
		log.Fatalf("%v; install it by: npm install --prefix examples/dashboard socket.io-client", err)
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := sockeye.New(sockeye.Config{
		Client:   os.DirFS(*client),
		Fallback: http.FileServerFS(files),
	})
	if err != nil {
		log.Fatal(err)
	}
	b := newBoard(srv)
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("dashboard at http://%s/ (end with Ctrl-C)\n", bound)

	b.run(ctx)
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
