//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adminui"
	sockeyeredis "github.com/sockeye-io/sockeye/broadcast/redis"
)

// adapters are those of package redis, by the names of Node's.
var adapters = map[string]func(c redis.UniversalClient) (*sockeyeredis.Adapter, error){
	"classic": func(c redis.UniversalClient) (*sockeyeredis.Adapter, error) {
		return sockeyeredis.New(c, sockeyeredis.Options{})
	},
	"sharded": func(c redis.UniversalClient) (*sockeyeredis.Adapter, error) {
		return sockeyeredis.NewSharded(c, sockeyeredis.ShardedOptions{})
	},
	"streams": func(c redis.UniversalClient) (*sockeyeredis.Adapter, error) {
		return sockeyeredis.NewStreams(c, sockeyeredis.StreamsOptions{})
	},
}

// serve is one of the servers: it writes its address, and obeys what it reads.
//
//	emit 7 100          broadcast 7, of 100 bytes
//	watch room          follow who is in a room
//	join 1000 room      have so many of its sockets join one
//	present room        how many are in one, as far as is known here
//	servers             how many servers there are
//	admin production 1  let admins in, in a mode, as server 1
//
// Each is answered by a line.
func serve(args []string) error {
	f := flag.NewFlagSet("serve", flag.ExitOnError)
	name := f.String("adapter", "classic", "adapter")
	url := f.String("redis", "", "Redis")
	if err := f.Parse(args); err != nil {
		return err
	}
	o, err := redis.ParseURL(*url)
	if err != nil {
		return err
	}
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	adapter, err := adapters[*name](client)
	if err != nil {
		return err
	}
	srv, err := sockeye.New(sockeye.Config{Adapter: adapter})
	if err != nil {
		return err
	}
	srv.On("bcast", func(text string) error { return srv.Emit("bcast", text) })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := obey(srv, strings.Fields(lines.Text()))
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime/2)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func obey(srv *sockeye.Server, words []string) (answer string, err error) {
	number := func(i int) (n int) {
		if i < len(words) {
			_, _ = fmt.Sscan(words[i], &n)
		}
		return n
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	switch words[0] {
	case "emit":
		text := fmt.Sprintf("%d-%d-", number(1), time.Now().UnixNano())
		return "emitted", srv.Emit("bcast", text+strings.Repeat("x", max(0, number(2)-len(text))))
	case "servers":
		n, err := srv.Servers(ctx)
		return fmt.Sprint(n), err
	case "join":
		for _, s := range srv.Sockets()[:number(1)] {
			if err := s.Join(words[2]); err != nil {
				return "", err
			}
		}
		return "joined", nil
	case "admin":
		_, err := adminui.Instrument(srv, adminui.Options{Auth: adminui.NoAuth, Mode: adminui.Mode(words[1]), ServerID: words[2]})
		return "instrumented", err
	case "watch":
		srv.Presence(words[1], nil)
		return "watched", nil
	case "present":
		p := srv.Presence(words[1], nil)
		defer p.Close()
		return fmt.Sprint(len(p.Members())), nil
	}
	return "", fmt.Errorf("no command %q", words)
}
