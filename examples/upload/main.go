// Command upload takes files by binary events, with Sockeye.
//
//	go run ./examples/upload [-addr 127.0.0.1:3000] [-client folder] [-to folder]
//
// A file goes in pieces, and each is answered before the next one is sent: the page knows
// how far it is, and the server never has more than a piece in memory. After a cut it goes
// on where it was. The page uses the official client, which is socket.io-client's of npm:
//
//	npm install --prefix examples/upload socket.io-client
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
	client := flag.String("client", "examples/upload/node_modules/socket.io-client/dist", "`folder` with socket.io.esm.min.js")
	to := flag.String("to", "", "`folder` for the files. Default: one that is removed at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if _, err := os.Stat(*client + "/socket.io.esm.min.js"); err != nil {
		log.Fatalf("%v; install it by: npm install --prefix examples/upload socket.io-client", err)
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
	if *to == "" {
		if *to, err = os.MkdirTemp("", "upload"); err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(*to)
	}
	newDesk(*to).register(srv)
	bound, err := srv.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("upload at http://%s/ (end with Ctrl-C)\n", bound)

	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Fatal(err)
	}
}
