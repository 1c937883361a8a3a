// Command zishang520 serves the two events of the comparison by
// github.com/zishang520/socket.io.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: zishang520 PORT")
	}
	io := socket.NewServer(nil, nil)
	_ = io.On("connection", func(clients ...any) {
		client := clients[0].(*socket.Socket)
		_ = client.On("echo", func(args ...any) { _ = client.Emit("echo", args...) })
		_ = client.On("bcast", func(args ...any) { _ = io.Emit("bcast", args...) })
	})
	http.Handle("/socket.io/", io.ServeHandler(nil))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
