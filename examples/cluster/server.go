package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	sockeyeredis "github.com/sockeye-io/sockeye/broadcast/redis"
	chatpage "github.com/sockeye-io/sockeye/examples/chat/page"
)

//go:embed page
var page embed.FS

// layers has the files of several folders, the first's first.
type layers []fs.FS

func (l layers) Open(name string) (f fs.File, err error) {
	for _, folder := range l {
		if f, err = folder.Open(name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

// serve is one of the processes.
func serve(o options) error {
	ctx, cancel := untilTold()
	defer cancel()
	client, err := redisClient(o.redis)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	adapter, err := sockeyeredis.New(client, sockeyeredis.Options{})
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	own, err := fs.Sub(page, "page")
	if err != nil {
		return err
	}
	srv, err := sockeye.New(sockeye.Config{
		Adapter:   adapter, // rooms and events are all processes'
		Forward:   forward(o, host),
		ReusePort: true, // all of them listen on the port
		Fallback:  http.FileServerFS(layers{own, chatpage.Files}),
	})
	if err != nil {
		return err
	}
	h := newHall(srv, client, process{Host: host, Number: o.child, PID: os.Getpid(), Began: time.Now()})
	bound, err := srv.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	fmt.Println(bound)
	h.run(ctx)
	ending, cancel := context.WithTimeout(context.Background(), endTime/2)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// forward is how the processes reach each other: by Unix sockets on one machine. The
// kernel gives each connection to any process, but a session is one process's.
func forward(o options, host string) *sockeye.Forward {
	if o.link == "" {
		return &sockeye.Forward{Listen: filepath.Join(o.dir, strconv.Itoa(os.Getpid())+".sock")}
	}
	f := &sockeye.Forward{Listen: o.link}
	if strings.HasPrefix(o.link, "0.0.0.0:") {
		f.Advertise = cmp.Or(host, "localhost")
	}
	return f
}
