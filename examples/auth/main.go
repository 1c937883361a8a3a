// Command auth lets people in by tokens that expire, and are renewed, with Sockeye.
//
//	go run . [-addr 127.0.0.1:3000] [-client folder] [-life 30s]     (in this folder)
//
// A page that has logged in has two things: a JWT, which lets a socket in for a short
// time, and a cookie, which only the HTTP server sees, and which a new JWT is got by. A
// connection lasts as long as its JWT; to go on, the page sends the next one over it. The
// page uses the official client, which is socket.io-client's of npm:
//
//	npm install --prefix examples/auth socket.io-client
package main

import (
	"context"
	"crypto/rand"
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
	client := flag.String("client", "node_modules/socket.io-client/dist", "`folder` with socket.io.esm.min.js")
	life := flag.Duration("life", 30*time.Second, "how long a JWT is good for")
	flag.Parse()
	if *life <= 0 {
		log.Fatal("-life has to be positive")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if _, err := os.Stat(*client + "/socket.io.esm.min.js"); err != nil {
		log.Fatalf("%v; install it by: npm install --prefix examples/auth socket.io-client", err)
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		log.Fatal(err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it does not fail; who restarts the server logs everybody out
	g := newGuard(secret, *life)
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	g.serve(mux)
	srv, err := sockeye.New(sockeye.Config{Client: os.DirFS(*client), Fallback: mux})
	if err != nil {
		log.Fatal(err)
	}
	g.register(srv)
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("auth at http://%s/ (end with Ctrl-C)\n", bound)

	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
